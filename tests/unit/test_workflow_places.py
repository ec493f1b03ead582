"""From the path of a step instance to its step, and to the budgets that hold for it."""

from itertools import groupby
from random import Random
from typing import Any

from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from app.governance.budgets.models import Unit
from app.workflows.language.expressions import Expressions
from app.workflows.places import cases_of, step_at, way_to
from app.workflows.plan import Plan
from app.workflows.planner import End
from app.workflows.run import Execute, Run
from app.workflows.steps.budgets import budgets_of, limits_of
from app.workflows.view import Ended
from tests.random_workflows import documents
from tests.workflow_builders import JsonValues
from tests.workflow_documents import load

BOUNDED = settings(max_examples=100, deadline=None, derandomize=True, phases=[Phase.explicit, Phase.generate])
CONSTANTS: dict[str, Any] = {"inputs": {"number": 3}, "run": {"id": "r1"}}

SWITCHING = """
version: 1
name: switching
inputs: {kind: {type: string, enum: [a, b, c]}}
steps:
  route:
    for_each: "${{ ['a', 'b', 'c'] }}"
    switch: item
    cases:
      a: {steps: {handle: {agent: EchoAgent, with: {text: first}}}}
      b: {steps: {handle: {agent: EchoAgent, with: {text: second}}}}
    else: {steps: {handle: {agent: EchoAgent, with: {text: third}}}}
"""
BUDGETS = """
version: 1
name: outer
budget: {usd: 2}
steps:
  each:
    for_each: "${{ [1, 2] }}"
    budget: {tokens: 10}
    steps:
      turn:
        loop: {until: loop.iteration == 2, max_iterations: 2}
        budget: {model_calls: 3}
        steps: {call: {workflow: inner.yaml}}
"""
INNER = """
version: 1
name: inner
budget: {wall_clock: 5s}
steps: {say: {agent: EchoAgent, budget: {tokens: 1}, with: {text: hello}}}
"""


@BOUNDED
@given(st.integers(0, 2**32))
def test_the_path_of_whatever_a_run_hands_out_leads_to_its_step(seed: int) -> None:
    random, plan = Random(seed), documents(seed).plan()
    run = Run(plan, JsonValues(), CONSTANTS)
    todo = run.begin()
    while todo:
        execute = todo.pop(random.randrange(len(todo)))
        steps = [*(step for _, step in execute.around), execute.step]
        way = way_to(plan, execute.path, cases_of(execute))
        assert [id(one.step) for one in way] == [key for key, _ in groupby(map(id, steps))]
        todo += run.end(execute.path, Ended(End.SUCCEEDED, random.choice([0, 1, 2, [1, 2]])))


def test_cases_may_have_steps_of_one_name_and_each_instance_is_of_its_own() -> None:
    plan = load(SWITCHING).plan

    found = {one.path: step_at(plan, one.path, cases_of(one)) for one in begun(plan)}

    texts = [step.with_["text"] for step in found.values() if step]
    assert (list(found), texts) == (
        ["route[0].handle", "route[1].handle", "route[2].handle"],
        ["first", "second", "third"],
    )


def test_a_path_of_another_plan_leads_nowhere() -> None:
    plan = load(SWITCHING).plan

    assert step_at(plan, "route[0].gone") is None
    assert step_at(plan, "route[0].handle", ["z"]) is None


def test_budgets_hold_for_all_items_together_for_each_loop_and_for_what_a_step_calls() -> None:
    plan = load(BUDGETS, **{"inner.yaml": INNER}).plan

    budgets = dict(budgets_of(plan, "each[1].turn[2].call.say"))

    assert {path: limits_of(spec) for path, spec in budgets.items()} == {
        "": {Unit.USD: 2 * 10**9},
        "each": {Unit.TOKENS: 10},
        "each[1].turn": {Unit.MODEL_CALLS: 3},
        "each[1].turn[2].call.": {Unit.WALL_SECONDS: 5000},
        "each[1].turn[2].call.say": {Unit.TOKENS: 1},
    }


def begun(plan: Plan) -> list[Execute]:
    return Run(plan, Expressions(), {"inputs": {"kind": "a"}, "run": {"id": "r1"}}).begin()
