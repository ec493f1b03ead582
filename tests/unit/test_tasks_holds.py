"""A task goes on only with an answer to what it waits for."""

from typing import Any

import pytest

from app.jobs.models import Status
from app.tasks.holds import HOLD, Answer, HoldKind, TaskNotWaiting, fields_to_go_on, find_hold, held
from tests.job_builders import NOON

ANSWER = Answer(HoldKind.BUDGET, {}, lambda task: {"budget.usd": 2.0})


def a_held_task(kind: HoldKind = HoldKind.BUDGET, status: Status = Status.AWAITING_APPROVAL) -> dict[str, Any]:
    return {"_id": "t-1", "status": status.value, **held(kind, "no money", since=NOON, facts={"unit": "usd"}).fields}


def test_an_answer_sets_its_fields_and_ends_the_waiting() -> None:
    assert fields_to_go_on(a_held_task(), ANSWER) == {"budget.usd": 2.0, HOLD: None}


@pytest.mark.parametrize(
    ("task", "told"),
    [
        (a_held_task(HoldKind.CLARIFICATION), "waits for clarification, not for budget"),
        (a_held_task(status=Status.QUEUED), "is queued and waits for nobody"),
        ({"_id": "t-1", "status": "awaiting_approval"}, "is awaiting_approval and waits for nobody"),
    ],
    ids=["something else", "goes on already", "of an older version"],
)
def test_a_task_that_does_not_wait_for_it_refuses_an_answer(task: dict[str, Any], told: str) -> None:
    with pytest.raises(TaskNotWaiting, match=told):
        fields_to_go_on(task, ANSWER)


def test_a_cancelled_task_waits_no_more() -> None:
    assert find_hold(a_held_task(status=Status.CANCELLED)) is None
