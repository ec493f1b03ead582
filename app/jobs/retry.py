"""Whether and when a failed attempt is followed by another: a pure decision.

The delay is exponential backoff with full jitter (uniform in ``[0, min(maximum, initial * 2**(attempt-1))]``), the
scheme that spreads a burst of failures best: "Exponential Backoff And Jitter", AWS Architecture Blog, 2015. A
provider's own Retry-After is a lower bound: we are never early. Where nobody is overloaded (a model whose answer was
refused) the next attempt follows within `SHORT_PAUSE`.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TypeVar

from app.errors import NotAsked, OrchestratorError, WorkerLost
from app.jobs.models import Job, JobError, Reason
from app.jobs.outcomes import Failed, RetryAt

T = TypeVar("T")
SHORT_PAUSE = timedelta(seconds=1)


@dataclass(frozen=True, slots=True)
class Backoff:
    """Limits of the delay between attempts."""

    initial: timedelta
    maximum: timedelta

    def delay(self, attempt: int, *, jitter: float) -> timedelta:
        """The wait after attempt number ``attempt`` (from 1); ``jitter`` is uniform in [0, 1)."""
        doublings = min(max(attempt - 1, 0), 32)
        return min(self.maximum, self.initial * float(2**doublings)) * jitter


@dataclass(frozen=True, slots=True)
class RetryWish:
    """What a task or an agent asks of its retries; None leaves it to whoever is asked next."""

    max_attempts: int | None = None
    initial: timedelta | None = None
    maximum: timedelta | None = None
    max_total: timedelta | None = None


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How often and how long a series of attempts may be repeated.

    No retry starts later than ``max_total`` after the start of the series, or after a person let it go on; zero is
    without that limit.
    """

    max_attempts: int
    backoff: Backoff
    max_total: timedelta = timedelta()

    def forbids(self, job: Job, at: datetime) -> bool:
        """Whether a retry at this time would start too late."""
        return bool(self.max_total) and at > (job.resumed_at or job.queued_at or job.created_at) + self.max_total


def resolve(default: RetryPolicy, *wishes: RetryWish | None) -> RetryPolicy:
    """Each limit as the first wish names it that names it at all."""
    named = [wish for wish in wishes if wish is not None]
    return RetryPolicy(
        max_attempts=_first((wish.max_attempts for wish in named), default.max_attempts),
        backoff=Backoff(
            initial=_first((wish.initial for wish in named), default.backoff.initial),
            maximum=_first((wish.maximum for wish in named), default.backoff.maximum),
        ),
        max_total=_first((wish.max_total for wish in named), default.max_total),
    )


def decide_after_error(
    job: Job, error: OrchestratorError, *, policy: RetryPolicy, now: datetime, jitter: float
) -> RetryAt | Failed:
    """Map an error of the current attempt to the next state of the job."""
    reported = JobError(type=error.code, message=error.message)
    is_charged = not isinstance(error, NotAsked)
    if not error.retryable or (is_charged and job.attempt >= policy.max_attempts):
        return Failed(reported)
    at = now + _pause(job, error, policy.backoff, jitter)
    if job.deadline_at is not None and at >= job.deadline_at:
        return Failed(reported)
    if policy.forbids(job, at):
        return _too_late(reported, policy)
    if isinstance(error, NotAsked):
        return RetryAt(at, reported, reason=Reason(error.reason), charged=False)
    return RetryAt(at, reported)


def decide_on_start(job: Job, *, policy: RetryPolicy, now: datetime) -> Failed | None:
    """None when a claimed attempt may be made. The first always may, however long the job had to wait for it."""
    if job.error is None or not policy.forbids(job, now):
        return None
    return _too_late(job.error, policy)


def decide_after_lost_worker(
    job: Job, *, policy: RetryPolicy, now: datetime, jitter: float, in_company: bool = False
) -> RetryAt | Failed:
    """What becomes of a job whose worker died or fell silent: a charged attempt, and the dead letter at the end.

    ``in_company`` says that others were lost with it. Then its last attempt is made once more without being charged
    and apart from other suspects, so that a job that kills its workers does not take its neighbours along.
    """
    at = now + policy.backoff.delay(job.attempt, jitter=jitter)
    error = JobError(type=WorkerLost.code, message=f"the worker was lost in attempt {job.attempt}")
    if policy.forbids(job, at):
        return _too_late(error, policy, reason=Reason.WORKER_LOST)
    if job.attempt < policy.max_attempts:
        return RetryAt(at, error, reason=Reason.WORKER_LOST)
    if in_company and not job.alone:
        return RetryAt(at, error, reason=Reason.ISOLATED, charged=False, alone=True)
    message = f"the worker was lost in each of {job.attempt} attempts; retry the task to start a new series"
    return Failed(JobError(type=WorkerLost.code, message=message), reason=Reason.WORKER_LOST)


def _pause(job: Job, error: OrchestratorError, backoff: Backoff, jitter: float) -> timedelta:
    if not error.backs_off:
        return min(SHORT_PAUSE, backoff.initial) * jitter
    # The provider's wish comes first; jitter is added so that a burst it refused does not return as a burst.
    return (error.retry_after or timedelta()) + backoff.delay(job.attempt, jitter=jitter)


def _too_late(error: JobError, policy: RetryPolicy, *, reason: Reason = Reason.FAILED) -> Failed:
    limit = f"no attempt may start later than {policy.max_total.total_seconds():g} s after the first was queued"
    return Failed(JobError(error.type, f"{error.message.rstrip('.')}; {limit}"), reason=reason)


def _first(wishes: Iterable[T | None], otherwise: T) -> T:
    return next((wish for wish in wishes if wish is not None), otherwise)
