"""The retry decision is pure: the same error, attempt and time always lead to the same next state."""

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.errors import AttemptTimeout, CircuitOpen, DeadlineExceeded, ExecutionError
from app.jobs.models import JobError, Reason
from app.jobs.outcomes import Failed, RetryAt
from app.jobs.retry import (
    Backoff,
    RetryPolicy,
    RetryWish,
    decide_after_error,
    decide_after_lost_worker,
    decide_on_start,
    resolve,
)
from tests.job_builders import NOON, SECOND, a_job

BACKOFF = Backoff(initial=SECOND, maximum=60 * SECOND)
POLICY = RetryPolicy(3, BACKOFF)
WITHIN_A_MINUTE = RetryPolicy(3, BACKOFF, max_total=60 * SECOND)


class ProviderBusy(ExecutionError):
    code = "LLM_RATE_LIMITED"
    retryable = True


def test_a_retryable_error_is_retried_while_attempts_are_left() -> None:
    outcome = decide_after_error(a_job(attempt=2), AttemptTimeout("slow"), policy=POLICY, now=NOON, jitter=0.5)

    assert isinstance(outcome, RetryAt)
    assert outcome.at == NOON + SECOND
    assert outcome.error is not None
    assert outcome.error.type == "TIMEOUT"


def test_the_last_attempt_fails_with_its_own_error() -> None:
    outcome = decide_after_error(a_job(attempt=3), AttemptTimeout("slow"), policy=POLICY, now=NOON, jitter=0.5)

    assert isinstance(outcome, Failed)
    assert outcome.error.type == "TIMEOUT"


def test_an_error_that_no_retry_can_help_fails_at_once() -> None:
    outcome = decide_after_error(a_job(), DeadlineExceeded("late"), policy=POLICY, now=NOON, jitter=0.5)

    assert isinstance(outcome, Failed)


def test_a_retry_is_never_earlier_than_the_provider_asked() -> None:
    busy = ProviderBusy("busy", retry_after=timedelta(seconds=30))

    outcome = decide_after_error(a_job(), busy, policy=POLICY, now=NOON, jitter=0.0)

    assert isinstance(outcome, RetryAt)
    assert outcome.at == NOON + timedelta(seconds=30)


def test_a_burst_that_was_refused_does_not_return_as_a_burst() -> None:
    busy = ProviderBusy("busy", retry_after=timedelta(seconds=30))

    times = {
        outcome.at
        for jitter in (0.1, 0.4, 0.9)
        if isinstance(outcome := decide_after_error(a_job(), busy, policy=POLICY, now=NOON, jitter=jitter), RetryAt)
    }

    assert len(times) == 3


def test_no_attempt_is_planned_behind_the_deadline() -> None:
    job = a_job(attempt=2, deadline_at=NOON + SECOND)

    outcome = decide_after_error(job, AttemptTimeout("slow"), policy=POLICY, now=NOON, jitter=0.9)

    assert isinstance(outcome, Failed)


def test_a_lost_worker_costs_an_attempt_and_ends_in_the_dead_letter() -> None:
    again = decide_after_lost_worker(a_job(attempt=2), policy=POLICY, now=NOON, jitter=0.5)
    dead = decide_after_lost_worker(a_job(attempt=3), policy=POLICY, now=NOON, jitter=0.5)

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


@pytest.mark.parametrize("attempt", [1, 3])
def test_a_refusal_by_a_circuit_is_never_charged(attempt: int) -> None:
    refused = CircuitOpen("down", retry_after=30 * SECOND)

    outcome = decide_after_error(a_job(attempt=attempt), refused, policy=POLICY, now=NOON, jitter=0.5)

    assert isinstance(outcome, RetryAt)
    assert (outcome.charged, outcome.reason) == (False, Reason.CIRCUIT_OPEN)
    assert outcome.at >= NOON + 30 * SECOND


def test_a_retry_that_would_start_after_the_total_time_is_not_made_and_says_so() -> None:
    job = a_job(attempt=1, queued_at=NOON - 59 * SECOND)

    in_time = decide_after_error(job, AttemptTimeout("slow"), policy=WITHIN_A_MINUTE, now=NOON, jitter=0.9)
    too_late = decide_after_error(job, AttemptTimeout("slow."), policy=WITHIN_A_MINUTE, now=NOON + SECOND, jitter=0.9)

    assert isinstance(in_time, RetryAt)
    assert isinstance(too_late, Failed)
    assert too_late.error == JobError(
        "TIMEOUT", "slow; no attempt may start later than 60 s after the first was queued"
    )


def test_the_total_time_ends_refusals_by_a_circuit_and_lost_workers_as_well() -> None:
    job = a_job(attempt=1, queued_at=NOON - 61 * SECOND)

    refused = decide_after_error(job, CircuitOpen("down"), policy=WITHIN_A_MINUTE, now=NOON, jitter=0.5)
    lost = decide_after_lost_worker(job, policy=WITHIN_A_MINUTE, now=NOON, jitter=0.5, in_company=True)

    assert isinstance(refused, Failed)
    assert isinstance(lost, Failed)
    assert (refused.error.type, lost.error.type) == ("CIRCUIT_OPEN", "WORKER_LOST")


def test_the_total_time_counts_from_the_start_of_the_series() -> None:
    job = a_job(attempt=1, created_at=NOON - timedelta(days=1), queued_at=NOON - SECOND)

    outcome = decide_after_error(job, AttemptTimeout("slow"), policy=WITHIN_A_MINUTE, now=NOON, jitter=0.5)

    assert isinstance(outcome, RetryAt)


def test_a_retry_that_waited_in_the_queue_beyond_the_total_time_is_not_made() -> None:
    late = a_job(attempt=2, queued_at=NOON - 61 * SECOND, error=JobError("TIMEOUT", "slow"))

    refused = decide_on_start(late, policy=WITHIN_A_MINUTE, now=NOON)

    assert refused is not None
    assert refused.error.type == "TIMEOUT"
    assert "60 s" in refused.error.message
    assert decide_on_start(late, policy=POLICY, now=NOON) is None


def test_a_first_attempt_is_made_however_long_it_had_to_wait() -> None:
    job = a_job(attempt=1, queued_at=NOON - timedelta(days=1))

    assert decide_on_start(job, policy=WITHIN_A_MINUTE, now=NOON) is None


def test_each_limit_comes_from_the_first_wish_that_names_it() -> None:
    task = RetryWish(max_attempts=1)
    agent = RetryWish(max_attempts=7, maximum=5 * SECOND)

    resolved = resolve(WITHIN_A_MINUTE, task, None, agent)

    assert resolved == RetryPolicy(1, Backoff(initial=SECOND, maximum=5 * SECOND), max_total=60 * SECOND)
    assert resolve(WITHIN_A_MINUTE) == WITHIN_A_MINUTE


@given(
    attempt=st.integers(1, 40),
    waited=st.integers(0, 200),
    wish=st.one_of(st.none(), st.integers(0, 200)),
    jitter=st.floats(0, 1, exclude_max=True),
)
def test_no_retry_is_ever_early_or_planned_after_the_total_time(
    attempt: int, waited: int, wish: int | None, jitter: float
) -> None:
    asked = None if wish is None else wish * SECOND
    job = a_job(attempt=attempt, max_attempts=50, queued_at=NOON - waited * SECOND)

    outcome = decide_after_error(
        job,
        ProviderBusy("busy", retry_after=asked),
        policy=RetryPolicy(50, BACKOFF, max_total=100 * SECOND),
        now=NOON,
        jitter=jitter,
    )

    if isinstance(outcome, RetryAt):
        assert NOON + (asked or timedelta()) <= outcome.at <= NOON + (100 - waited) * SECOND
    else:
        assert waited * SECOND + (asked or timedelta()) + BACKOFF.delay(attempt, jitter=1.0) > 100 * SECOND
