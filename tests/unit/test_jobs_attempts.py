"""What a history tells of the attempts at its job, whatever became of them."""

from datetime import timedelta

from app.jobs.attempts import PastAttempt, list_attempts
from app.jobs.history import new_entry, read_history
from app.jobs.models import JobError, Reason, Status
from tests.job_builders import NOON, SECOND

CLAIM = (Status.PROCESSING, Reason.CLAIMED)
LOST = JobError("WORKER_LOST", "the worker was lost in attempt 1")


def attempts_of(*steps: tuple[Status, Reason]) -> list[PastAttempt]:
    """One entry a second, claims by workers in turn."""
    entries = [new_entry(Status.QUEUED, NOON, Reason.ACCEPTED)]
    for number, (status, reason) in enumerate(steps, start=1):
        worker = f"w{number}" if reason is Reason.CLAIMED else None
        error = LOST if reason is Reason.WORKER_LOST else None
        entries.append(new_entry(status, NOON + number * SECOND, reason, error, worker=worker))
    return list_attempts(read_history(entries))


def test_a_job_that_was_never_claimed_has_none() -> None:
    assert attempts_of() == []
    assert attempts_of((Status.CANCELLED, Reason.CANCELLED)) == []


def test_one_that_goes_on_has_no_end() -> None:
    [attempt] = attempts_of(CLAIM)

    assert (attempt.outcome, attempt.started_at, attempt.ended_at) == ("running", NOON + SECOND, None)
    assert (attempt.worker, attempt.is_charged) == ("w1", True)


def test_one_whose_worker_was_killed_is_there_with_its_worker_and_its_error() -> None:
    lost, done = attempts_of(CLAIM, (Status.QUEUED, Reason.WORKER_LOST), CLAIM, (Status.COMPLETED, Reason.FINISHED))

    assert (lost.outcome, lost.worker, lost.error) == ("worker_lost", "w1", LOST)
    assert (done.outcome, done.worker, done.error, done.number) == ("completed", "w3", None, 2)
    assert done.ended_at == done.started_at + timedelta(seconds=1)


def test_series_are_counted_and_numbers_begin_anew_in_each() -> None:
    attempts = attempts_of(
        CLAIM,
        (Status.QUEUED, Reason.RETRY_SCHEDULED),
        CLAIM,
        (Status.FAILED, Reason.FAILED),
        (Status.QUEUED, Reason.RETRIED),
        CLAIM,
        (Status.CANCELLED, Reason.CANCELLED),
    )

    assert [(one.place, one.series, one.number, one.outcome) for one in attempts] == [
        (1, 1, 1, "retry_scheduled"),
        (2, 1, 2, "failed"),
        (3, 2, 1, "cancelled"),
    ]


def test_one_that_is_not_charged_leaves_its_number_to_the_next() -> None:
    given_back = (Reason.EVALUATED, Reason.DEFERRED, Reason.WORKER_DRAINING, Reason.SUSPENDED)
    steps = [step for reason in given_back for step in (CLAIM, (Status.QUEUED, reason))]

    attempts = attempts_of(*steps, CLAIM)

    assert [(one.number, one.is_charged) for one in attempts] == [*[(1, False)] * len(given_back), (1, True)]
    assert [one.outcome for one in attempts] == [*(reason.value for reason in given_back), "running"]


def test_what_is_left_of_a_shortened_history_is_told_without_inventing_a_beginning() -> None:
    entries = [
        new_entry(Status.QUEUED, NOON, Reason.RETRY_SCHEDULED),
        new_entry(Status.PROCESSING, NOON + SECOND, Reason.CLAIMED),
    ]

    assert [(one.place, one.outcome, one.worker) for one in list_attempts(read_history(entries))] == [
        (1, "running", None)
    ]
