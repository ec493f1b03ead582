"""The history is an event log: its numbers follow from the place of an entry alone."""

from app.jobs.history import count_claims, new_entry, read_history
from app.jobs.models import JobError, Reason, Status
from tests.job_builders import NOON


def _entries(*steps: tuple[Status, Reason]) -> list[dict[str, object]]:
    return [new_entry(status, NOON, reason) for status, reason in steps]


def test_sequence_numbers_are_gapless_from_one() -> None:
    entries = _entries((Status.QUEUED, Reason.ACCEPTED), (Status.PROCESSING, Reason.CLAIMED))

    assert [entry.seq for entry in read_history(entries)] == [1, 2]


def test_every_claim_is_an_attempt() -> None:
    entries = _entries(
        (Status.QUEUED, Reason.ACCEPTED),
        (Status.PROCESSING, Reason.CLAIMED),
        (Status.QUEUED, Reason.RETRY_SCHEDULED),
        (Status.PROCESSING, Reason.CLAIMED),
        (Status.COMPLETED, Reason.FINISHED),
    )

    assert [entry.attempt for entry in read_history(entries)] == [0, 1, 1, 2, 2]


def test_an_attempt_that_a_draining_worker_gave_back_is_not_charged() -> None:
    entries = _entries(
        (Status.QUEUED, Reason.ACCEPTED),
        (Status.PROCESSING, Reason.CLAIMED),
        (Status.QUEUED, Reason.WORKER_DRAINING),
        (Status.PROCESSING, Reason.CLAIMED),
    )

    assert [entry.attempt for entry in read_history(entries)] == [0, 1, 1, 1]


def test_a_retry_by_the_client_begins_a_new_series() -> None:
    entries = _entries(
        (Status.PROCESSING, Reason.CLAIMED),
        (Status.FAILED, Reason.FAILED),
        (Status.QUEUED, Reason.RETRIED),
        (Status.PROCESSING, Reason.CLAIMED),
    )

    assert [entry.attempt for entry in read_history(entries)] == [1, 1, 0, 1]


def test_claims_are_counted_over_all_series_charged_or_not() -> None:
    entries = _entries(
        (Status.PROCESSING, Reason.CLAIMED),
        (Status.QUEUED, Reason.WORKER_DRAINING),
        (Status.PROCESSING, Reason.CLAIMED),
        (Status.FAILED, Reason.FAILED),
        (Status.QUEUED, Reason.RETRIED),
        (Status.PROCESSING, Reason.CLAIMED),
    )

    assert count_claims(entries) == 3


def test_an_entry_keeps_the_error_it_was_written_with() -> None:
    entry = new_entry(Status.FAILED, NOON, Reason.FAILED, JobError("TIMEOUT", "slow"))

    assert read_history([entry])[0].error == JobError("TIMEOUT", "slow")
