"""What an execution is said to wait for, by what is stored of it."""

from typing import Any

import pytest

from app.workflows.executions.why import Facts, Why, explain
from tests.execution_builders import Json, a_step, an_execution
from tests.job_builders import NOON, SECOND

LATER = NOON + 60 * SECOND
RUNNING: Json = {"status": "processing", "begun_at": NOON, "lease": {"token": "t", "worker": "w1"}}


def why(*steps: Json, workers: int = 1, **execution: Any) -> Why:
    job = an_execution(**{"begun_at": NOON, "status": "awaiting_approval", **execution})
    return explain(job, Facts(NOON, workers, free_slots=3 * workers, open_steps=steps))


def waiting(**waits_for: Any) -> Json:
    return a_step("gate", waits_for=waits_for)


@pytest.mark.parametrize(
    ("step", "waiting_for", "told"),
    [
        (
            waiting(what="approval", approvers=["ann"], until=LATER),
            "approval",
            "approval of ann until 2026-11-21T12:01",
        ),
        (waiting(what="approval", quorum=2), "approval", "approval of anybody (0 of 2 have approved)"),
        (waiting(what="event", event="paid", key="k"), "event", "event paid with the key 'k'"),
        (waiting(what="time", until=LATER), "time", "gate waits until 2026-11-21T12:01"),
        (
            a_step(status="processing", lease={"token": "t", "worker": "w1"}, started_at=NOON, attempt=2),
            "step",
            "say has been running since 2026-11-21T12:00:00.000Z on worker w1, attempt 2",
        ),
        (
            a_step(not_before=LATER, error={"type": "TIMEOUT", "message": "too slow."}),
            "retry",
            "tried again at 2026-11-21T12:01:00.000Z after TIMEOUT: too slow.",
        ),
        (a_step(), "slot", "3 slots of the workers are free"),
    ],
)
def test_what_the_only_open_step_waits_for_is_what_the_execution_waits_for(
    step: Json, waiting_for: str, told: str
) -> None:
    found = why(step)

    assert found.waiting_for == waiting_for
    assert told in found.explanation


def test_without_a_worker_it_says_how_to_start_one() -> None:
    for found in (why(a_step(), workers=0), why(workers=0, status="queued", begun_at=None)):
        assert found.waiting_for == "worker"
        assert "orchestrate worker" in found.explanation


def test_a_paused_or_cancelled_execution_says_by_whom_and_what_still_runs() -> None:
    step = a_step(status="processing", lease={"token": "t", "worker": "w1"}, started_at=NOON)

    paused = why(step, paused_at=NOON, paused_by="ann")
    cancelled = why(step, cancel_wanted={"at": NOON, "by": "bob"}, workers=0)

    assert paused.waiting_for == "resume"
    assert "by ann" in paused.explanation
    assert "1 step runs" in paused.explanation
    assert cancelled.waiting_for == "cancellation"
    assert "by bob" in cancelled.explanation
    assert "No worker is alive" in cancelled.explanation


def test_many_steps_are_told_by_the_first_and_their_number() -> None:
    found = why(*(a_step(f"each[{number}]") for number in range(9)), waiting(what="time", until=LATER))

    assert found.waiting_for == "slot"
    assert "And 5 more steps" in found.explanation
    assert found.facts["open_steps"] == 10


def test_who_drives_it_is_told_when_no_step_is_open() -> None:
    assert "w1" in why(**RUNNING).explanation


def test_an_execution_that_failed_says_where_and_why() -> None:
    fault = {"type": "TIMEOUT", "message": "too slow.", "path": "a.b"}

    found = why(status="failed", completed_at=NOON, fault=fault)

    assert found.waiting_for == "nothing"
    assert found.explanation == "The execution is failed since 2026-11-21T12:00:00.000Z at a.b: TIMEOUT: too slow."
