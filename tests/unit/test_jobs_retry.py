"""The retry decision is pure: the same error, attempt and time always lead to the same next state."""

from datetime import timedelta

from hypothesis import given
from hypothesis import strategies as st

from app.errors import AttemptTimeout, DeadlineExceeded, ExecutionError
from app.jobs.models import Reason
from app.jobs.outcomes import Failed, RetryAt
from app.jobs.retry import Backoff, decide_after_error, decide_after_lost_worker
from tests.job_builders import NOON, SECOND, a_job

BACKOFF = Backoff(initial=SECOND, maximum=60 * SECOND)


class ProviderBusy(ExecutionError):
    code = "LLM_RATE_LIMITED"
    retryable = True


def test_a_retryable_error_is_retried_while_attempts_are_left() -> None:
    outcome = decide_after_error(a_job(attempt=2), AttemptTimeout("slow"), backoff=BACKOFF, now=NOON, jitter=0.5)

    assert isinstance(outcome, RetryAt)
    assert outcome.at == NOON + SECOND
    assert outcome.error is not None
    assert outcome.error.type == "TIMEOUT"


def test_the_last_attempt_fails_with_its_own_error() -> None:
    outcome = decide_after_error(a_job(attempt=3), AttemptTimeout("slow"), backoff=BACKOFF, now=NOON, jitter=0.5)

    assert isinstance(outcome, Failed)
    assert outcome.error.type == "TIMEOUT"


def test_an_error_that_no_retry_can_help_fails_at_once() -> None:
    outcome = decide_after_error(a_job(), DeadlineExceeded("late"), backoff=BACKOFF, now=NOON, jitter=0.5)

    assert isinstance(outcome, Failed)


def test_a_retry_is_never_earlier_than_the_provider_asked() -> None:
    busy = ProviderBusy("busy", retry_after=timedelta(seconds=30))

    outcome = decide_after_error(a_job(), busy, backoff=BACKOFF, now=NOON, jitter=0.0)

    assert isinstance(outcome, RetryAt)
    assert outcome.at == NOON + timedelta(seconds=30)


def test_a_burst_that_was_refused_does_not_return_as_a_burst() -> None:
    busy = ProviderBusy("busy", retry_after=timedelta(seconds=30))

    times = {
        outcome.at
        for jitter in (0.1, 0.4, 0.9)
        if isinstance(outcome := decide_after_error(a_job(), busy, backoff=BACKOFF, now=NOON, jitter=jitter), RetryAt)
    }

    assert len(times) == 3


def test_no_attempt_is_planned_behind_the_deadline() -> None:
    job = a_job(attempt=2, deadline_at=NOON + SECOND)

    outcome = decide_after_error(job, AttemptTimeout("slow"), backoff=BACKOFF, now=NOON, jitter=0.9)

    assert isinstance(outcome, Failed)


def test_a_lost_worker_costs_an_attempt_and_ends_in_the_dead_letter() -> None:
    again = decide_after_lost_worker(a_job(attempt=2), backoff=BACKOFF, now=NOON, jitter=0.5)
    dead = decide_after_lost_worker(a_job(attempt=3), backoff=BACKOFF, now=NOON, jitter=0.5)

    assert isinstance(again, RetryAt)
    assert again.charged
    assert isinstance(dead, Failed)
    assert dead.error.type == "WORKER_LOST"
    assert dead.reason is Reason.WORKER_LOST


@given(attempt=st.integers(1, 10_000), jitter=st.floats(0, 1, exclude_max=True))
def test_the_delay_stays_between_nothing_and_the_maximum(attempt: int, jitter: float) -> None:
    delay = BACKOFF.delay(attempt, jitter=jitter)

    assert timedelta() <= delay <= BACKOFF.maximum


def test_the_delay_doubles_with_every_attempt() -> None:
    full = [BACKOFF.delay(attempt, jitter=1.0) for attempt in range(1, 9)]

    assert [int(delay.total_seconds()) for delay in full] == [1, 2, 4, 8, 16, 32, 60, 60]
