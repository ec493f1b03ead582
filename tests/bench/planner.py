"""What deciding costs: the CPU time a run takes to apply the end of a step, by the size of its workflow."""

import time
from dataclasses import replace
from typing import Any

from app.workflows.language.models import Step, Workflow
from app.workflows.plan import compile_plan, compile_scope
from app.workflows.planner import End
from app.workflows.run import Run
from app.workflows.view import Ended, View

LEAST_STEPS = 20_000
# Every step needs one a few places before it, so that some of them are under way at any time.
STRIDE = 5
DONE = Ended(End.SUCCEEDED, {"n": 1})


class NoValues:
    """Nothing is computed: it is the planner that is measured."""

    def evaluate(self, expression: str, view: View) -> Any:
        raise NotImplementedError(expression)

    def render(self, template: Any, view: View) -> Any:
        return template


def microseconds_per_step(steps: int) -> float:
    """Over as many whole runs as it takes to finish some tens of thousands of steps."""
    plan = compile_plan(Workflow(version=1, name="measured", steps={"a": Step(agent="none")}), "", {})
    needs = {f"s{place}": [f"s{place - STRIDE}"] if place >= STRIDE else [] for place in range(steps)}
    plan = replace(plan, body=compile_scope({name: Step(agent="none", needs=of) for name, of in needs.items()}))
    rounds = max(1, LEAST_STEPS // steps)
    began = time.process_time()
    for _ in range(rounds):
        _work_off(Run(plan, NoValues(), {}))
    return (time.process_time() - began) / (rounds * steps) * 1_000_000


def _work_off(run: Run) -> None:
    waiting = run.begin()
    for command in waiting:
        waiting.extend(run.end(command.path, DONE))
