"""What attempts left is told with the attempt that it belongs to, also where numbers come again."""

from datetime import datetime, timedelta
from typing import Any

import pytest

from app.jobs.history import new_entry
from app.jobs.models import Reason, Status
from app.metrics.usage import NOTE
from app.tasks.attempt_schemas import AttemptItem
from app.tasks.attempts import present_attempts, work_on_task
from tests.job_builders import NOON, SECOND

HALF = timedelta(milliseconds=500)


def at(seconds: float) -> datetime:
    return NOON + seconds * SECOND


def a_task(attempts: int, **fields: Any) -> dict[str, Any]:
    """Attempt number n was made from second n to n + 0.5 in a series of its own, and cost as much as all before it."""
    history = [new_entry(Status.QUEUED, NOON, Reason.ACCEPTED)]
    for number in range(1, attempts + 1):
        end = new_entry(Status.FAILED, at(number) + HALF, Reason.FAILED)
        note = {"agent": "CodeAgent", "tokens": 10 * 2**number, "model_calls": number, "nano_usd": 10**9 * number}
        again = new_entry(Status.QUEUED, at(number) + HALF, Reason.RETRIED)
        history += [new_entry(Status.PROCESSING, at(number), Reason.CLAIMED), {**end, "noted": {NOTE: note}}, again]
    return {"history": history, **fields}


def told(task: dict[str, Any], **options: int) -> list[AttemptItem]:
    return present_attempts(task, work_on_task(task), **{"after": 0, "limit": 100, **options}).items


def test_each_attempt_is_charged_with_what_it_added() -> None:
    found = told(a_task(3))

    costs = [one.cost for one in found if one.cost]
    assert [(one.usd, one.tokens, one.model_calls) for one in costs] == [(1.0, 20, 1), (1.0, 20, 1), (1.0, 40, 1)]
    assert {one.agent for one in found} == {"CodeAgent"}


def test_recordings_evidence_and_runs_go_to_the_attempt_in_which_they_were_left() -> None:
    run = {"agent_name": "CodeAgent", "started_at": at(2.1), "run_id": "r", "models": [{"model": "m"}, {"model": "m"}]}
    task = a_task(
        3,
        recordings=[{"attempt": 1, "sha256": "a", "at": at(2.2)}],
        evidence=[
            {"kind": "evaluation", "sha256": "b", "name": "evaluation-1.json", "attempt": 1, "at": at(3.1)},
            {"kind": "approval", "sha256": "c", "name": "approval.json", "attempt": None, "at": at(2.9)},
        ],
        agent_runs=[run],
    )

    first, second, third = told(task)

    assert (first.recording, first.replayable, first.evidence, first.agent_runs) == (None, False, [], [])
    assert (second.recording, second.replayable) == ("a", True)
    assert (second.agent_runs, second.models) == (["r"], ["m"])
    assert [one.sha256 for one in second.evidence] == ["c"]
    assert [(one.kind, one.name) for one in third.evidence] == [("evaluation", "evaluation-1.json")]


@pytest.mark.parametrize(("attempts", "replayable"), [(1, True), (2, False)])
def test_a_recording_of_an_older_version_is_told_only_where_its_number_is_that_of_one_attempt(
    attempts: int, *, replayable: bool
) -> None:
    found = told(a_task(attempts, recordings=[{"attempt": 1, "sha256": "a"}]))

    assert [one.replayable for one in found] == [replayable] * attempts


def test_nothing_is_left_out_when_the_clocks_of_two_workers_differ() -> None:
    task = a_task(2, recordings=[{"attempt": 1, "sha256": "a", "at": at(1.2)}])
    task["history"][4]["at"] = at(0.9)

    assert [one.recording for one in told(task) if one.recording] == ["a"]


def test_a_long_history_comes_in_parts() -> None:
    task = a_task(5)

    parts = [present_attempts(task, [], after=after, limit=2) for after in (0, 2, 4, 5)]

    assert [[one.seq for one in part.items] for part in parts] == [[1, 2], [3, 4], [5], []]
    assert [part.next_cursor for part in parts] == [2, 4, None, None]


def test_something_left_before_any_attempt_belongs_to_none() -> None:
    task = {"history": [new_entry(Status.QUEUED, NOON, Reason.ACCEPTED)], "evidence": [{"kind": "x", "at": NOON}]}

    assert told(task) == []
