"""Recorded histories replayed against the planner: it still decides what it decided then, in real expressions."""

import json
from pathlib import Path
from typing import Any

import pytest

from app.workflows.language.expressions import Expressions
from app.workflows.language.models import Workflow
from app.workflows.plan import Plan, compile_plan
from app.workflows.replaying import restore
from app.workflows.run import Run
from app.workflows.view import Ended
from tests.workflow_builders import paths

HISTORIES = sorted((Path(__file__).parents[1] / "corpus" / "workflows" / "histories").glob("*.json"))
History = dict[str, Any]


@pytest.fixture(params=HISTORIES, ids=lambda path: path.stem)
def history(request: pytest.FixtureRequest) -> History:
    content: History = json.loads(request.param.read_text(encoding="utf-8"))
    return content


def plan_of(history: History) -> Plan:
    parts = {name: compile_plan(Workflow.model_validate(part), name, {}) for name, part in history["parts"].items()}
    return compile_plan(Workflow.model_validate(history["workflow"]), "digest", parts)


def repeat(run: Run, event: History) -> list[str]:
    return run.cancel() if "cancel" in event else paths(run.end(event["path"], Ended.from_json(event["ended"])))


def test_there_are_histories() -> None:
    assert len(HISTORIES) >= 6


def test_a_history_happens_again_as_it_was_recorded(history: History) -> None:
    run = Run(plan_of(history), Expressions(), history["constants"])

    assert paths(run.begin()) == history["begins"]
    for event in history["events"]:
        assert repeat(run, event) == event["stops" if "cancel" in event else "then"]

    assert run.result == Ended.from_json(history["result"])
    assert {path: ended.end.value for path, ended in run.ends.items()} == history["ends"]


def test_a_run_rebuilt_after_each_event_of_a_history_is_where_it_was(history: History) -> None:
    plan = plan_of(history)
    run = Run(plan, Expressions(), history["constants"])
    run.begin()

    for event in history["events"]:
        repeat(run, event)

        rebuilt = restore(plan, Expressions(), json.loads(json.dumps(run.snapshot())))
        assert (rebuilt.open, rebuilt.ends, rebuilt.result) == (run.open, run.ends, run.result)
