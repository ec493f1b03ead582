"""The checker finds what it is there to find: each promise, broken by hand."""

from typing import Any

import pytest

from tests.chaos.checker import Bounds, Kill, Record, recovery_times, violations
from tests.chaos.client import EXECUTE, Answer, Snapshot
from tests.chaos.history import Event

Json = dict[str, Any]
TASK = "task-1"
FIRST = "t1"
NO_FAULTS = Bounds()
GOOD = ("accepted", "claimed", "finished")
STATUS_OF = {
    "accepted": "queued",
    "claimed": "processing",
    "finished": "completed",
    "failed": "failed",
    "worker_lost": "queued",
    "retry_scheduled": "queued",
    "retried": "queued",
    "cancelled": "cancelled",
}


def document(*reasons: str, signed: str = "t1", **fields: Any) -> Json:
    history = [{"status": STATUS_OF[reason], "reason": reason} for reason in reasons]
    return {
        "status": history[-1]["status"],
        "history": history,
        "attempt": reasons.count("claimed"),
        "completed_at": "noon",
        "error": None,
        "result": {"raw_output": f'{{"token": "{signed}"}}'},
        **fields,
    }


def event(kind: str, at: float, *, token: str = FIRST, attempt: int = 1, pid: int = 1, took: float = 0.1) -> Event:
    return Event(kind, TASK, at, at - took, pid, token, attempt, "worker")


def accepted(task_id: str = TASK, *, key: str | None = None) -> Answer:
    return Answer(EXECUTE, 0.0, 0.1, 202, {"task_id": task_id}, key)


def told(at: float, task: Json) -> Snapshot:
    return Snapshot(TASK, at - 0.1, at, task)


ONE_RUN = (event("claimed", 1), event("start", 1.1), event("end", 2), event("settled", 2.2))
REPLACED = (
    event("claimed", 1),
    event("start", 1.1),
    event("claimed", 5, token="t2", attempt=2, pid=2),
    event("start", 5.1, token="t2", attempt=2, pid=2),
    event("end", 6, token="t2", attempt=2, pid=2),
    event("settled", 6.2, token="t2", attempt=2, pid=2),
)


def letters(record: Record, bounds: Bounds = NO_FAULTS) -> str:
    """Which promises are broken."""
    return "".join(sorted({line[0] for line in violations(record, bounds)}))


def record(
    *events: Event, snapshots: tuple[Snapshot, ...] = (), kills: tuple[Kill, ...] = (), **documents: Json
) -> Record:
    documents = documents or {"found": document(*GOOD)}
    return Record((accepted(),), snapshots, events, {TASK: documents["found"]}, kills)


def test_a_good_run_breaks_nothing() -> None:
    ended = document(*GOOD)

    good = record(*ONE_RUN, snapshots=(told(1.5, document("accepted", "claimed")), told(3, ended), told(4, ended)))

    assert letters(good) == ""


def test_a_good_repetition_after_a_kill_breaks_nothing() -> None:
    found = document("accepted", "claimed", "worker_lost", "claimed", "finished", signed="t2")

    good = record(*REPLACED, found=found, kills=(Kill(1, 2.0),))

    assert letters(good, Bounds(spare_executions=1, recovery=3.5)) == ""
    assert recovery_times(good) == [pytest.approx(3.1)]


def test_an_accepted_task_that_is_not_in_the_store_is_found() -> None:
    assert letters(Record((accepted(),))) == "A"


@pytest.mark.parametrize("reasons", [("accepted",), ("accepted", "claimed")])
def test_an_accepted_task_that_has_not_ended_is_found(reasons: tuple[str, ...]) -> None:
    assert letters(record(found=document(*reasons))) == "A"


def test_two_final_writes_are_found() -> None:
    assert letters(record(found=document(*GOOD, "finished"))) == "B"


def test_a_series_that_goes_on_after_its_end_is_found() -> None:
    assert letters(record(found=document(*GOOD, "claimed", status="completed"))) == "B"


def test_a_status_that_the_history_does_not_tell_of_is_found() -> None:
    assert letters(record(found=document("accepted", "claimed", status="completed"))) == "B"


def test_a_retry_by_hand_begins_a_series_with_an_end_of_its_own() -> None:
    found = document("accepted", "claimed", "failed", "retried", "claimed", "finished")

    assert letters(record(found=found)) == ""


@pytest.mark.parametrize("kind", ["settled", "saved"])
def test_a_write_after_another_claim_is_found(kind: str) -> None:
    found = document("accepted", "claimed", "worker_lost", "claimed", "finished", signed="t2")

    stale = record(*REPLACED, event(kind, 5.5), found=found)

    assert letters(stale, Bounds(spare_executions=1)) == "C"


def test_a_write_that_was_on_its_way_when_another_claimed_is_not_blamed() -> None:
    found = document("accepted", "claimed", "worker_lost", "claimed", "finished", signed="t2")

    racing = record(*REPLACED, event("settled", 5.5, took=1.0), found=found)

    assert letters(racing, Bounds(spare_executions=1)) == ""


def test_a_late_write_that_was_refused_is_no_violation() -> None:
    found = document("accepted", "claimed", "worker_lost", "claimed", "finished", signed="t2")

    refused = record(*REPLACED, event("write_refused", 5.5), found=found)

    assert letters(refused, Bounds(spare_executions=1)) == ""


def test_a_result_of_an_attempt_that_was_replaced_is_found() -> None:
    found = document("accepted", "claimed", "worker_lost", "claimed", "finished", signed="t1")

    stale = record(*REPLACED, event("end", 5.5), found=found)

    assert letters(stale, Bounds(spare_executions=1)) == "C"


def test_a_result_that_nobody_wrote_is_found() -> None:
    assert letters(record(*ONE_RUN, found=document(*GOOD, signed="t9"))) == "C"


def test_an_attempt_that_was_settled_twice_is_found() -> None:
    assert letters(record(*ONE_RUN, event("settled", 2.5))) == "C"


@pytest.mark.parametrize(
    "later",
    [
        document("accepted", "claimed"),
        document("accepted", "claimed", "cancelled"),
        document(*GOOD, signed="t3"),
        document(*GOOD, completed_at="midnight"),
    ],
)
def test_an_end_that_changes_is_found(later: Json) -> None:
    changed = record(*ONE_RUN, snapshots=(told(3, document(*GOOD)), told(4, later)))

    assert letters(changed) == "D"


def test_an_end_that_is_another_in_the_store_is_found() -> None:
    assert letters(record(snapshots=(told(3, document("accepted", "claimed", "failed")),))) == "D"


def test_an_answer_that_was_asked_for_before_the_end_was_told_is_not_blamed() -> None:
    slow = Snapshot(TASK, 2.0, 5.0, document("accepted", "claimed"))

    assert letters(record(*ONE_RUN, snapshots=(told(3, document(*GOOD)), slow))) == ""


def test_an_end_that_was_left_on_request_is_no_violation() -> None:
    failed = document("accepted", "claimed", "failed")
    revived = document("accepted", "claimed", "failed", "retried", "claimed", "finished")

    asked_for = record(snapshots=(told(3, failed), told(4, revived)), found=revived)

    assert letters(asked_for) == ""


def test_more_executions_than_faults_explain_are_found() -> None:
    again = event("start", 1.5, attempt=1)

    assert letters(record(*ONE_RUN, again)) == "E"
    assert letters(record(*ONE_RUN, again), Bounds(spare_executions=1)) == ""


def test_a_retry_of_the_product_explains_an_execution() -> None:
    found = document("accepted", "claimed", "retry_scheduled", "claimed", "finished")

    assert letters(record(*ONE_RUN, event("start", 1.5), found=found)) == ""


def test_a_late_recovery_is_found() -> None:
    found = document("accepted", "claimed", "worker_lost", "claimed", "finished", signed="t2")

    late = record(*REPLACED, found=found, kills=(Kill(1, 2.0),))

    assert letters(late, Bounds(spare_executions=1, recovery=3.0)) == "F"


def test_a_task_that_never_ran_again_is_found() -> None:
    lost = record(*ONE_RUN[:2], kills=(Kill(1, 2.0),))

    assert letters(lost, Bounds(recovery=3.0)) == "F"


def test_what_was_over_before_the_kill_needs_no_recovery() -> None:
    over = record(*ONE_RUN, kills=(Kill(1, 3.0),))

    assert letters(over, Bounds(recovery=0.1)) == ""


def test_a_key_that_stands_for_two_tasks_is_found() -> None:
    ended = document(*GOOD)
    twice = Record(
        (accepted("task-1", key="k"), accepted("task-2", key="k")), documents={"task-1": ended, "task-2": ended}
    )

    assert letters(twice) == "K"


def test_answers_that_were_no_acceptance_bind_nobody() -> None:
    refused = Answer(EXECUTE, 0.0, 0.1, 503, {"error": {}}, "k")
    unheard = Answer(EXECUTE, 0.0, 0.1, None, None, "k")

    assert letters(Record((refused, unheard))) == ""
