"""Whether and when a failed attempt is followed by another: a pure decision.

The delay is exponential backoff with full jitter (uniform in ``[0, min(maximum, initial * 2**(attempt-1))]``), the
scheme that spreads a burst of failures best: "Exponential Backoff And Jitter", AWS Architecture Blog, 2015. A
provider's own Retry-After is a lower bound: we are never early.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

from app.errors import OrchestratorError, WorkerLost
from app.jobs.models import Job, JobError, Reason
from app.jobs.outcomes import Failed, RetryAt


@dataclass(frozen=True, slots=True)
class Backoff:
    """Limits of the delay between attempts."""

    initial: timedelta
    maximum: timedelta

    def delay(self, attempt: int, *, jitter: float) -> timedelta:
        """The wait after attempt number ``attempt`` (from 1); ``jitter`` is uniform in [0, 1)."""
        doublings = min(max(attempt - 1, 0), 32)
        return min(self.maximum, self.initial * float(2**doublings)) * jitter


def decide_after_error(
    job: Job, error: OrchestratorError, *, backoff: Backoff, now: datetime, jitter: float
) -> RetryAt | Failed:
    """Map an error of the current attempt to the next state of the job."""
    reported = JobError(type=error.code, message=error.message)
    if not error.retryable or job.attempt >= job.max_attempts:
        return Failed(reported)
    wait = backoff.delay(job.attempt, jitter=jitter)
    # The provider's wish comes first; jitter is added so that a burst it refused does not return as a burst.
    at = now + (error.retry_after + wait if error.retry_after else wait)
    if job.deadline_at is not None and at >= job.deadline_at:
        return Failed(reported)
    return RetryAt(at, reported)


def decide_after_lost_worker(job: Job, *, backoff: Backoff, now: datetime, jitter: float) -> RetryAt | Failed:
    """What becomes of a job whose worker died or fell silent: a charged attempt, and the dead letter at the end."""
    if job.attempt >= job.max_attempts:
        message = f"the worker was lost in each of {job.attempt} attempts; retry the task to start a new series"
        return Failed(JobError(type=WorkerLost.code, message=message), reason=Reason.WORKER_LOST)
    error = JobError(type=WorkerLost.code, message=f"the worker was lost in attempt {job.attempt}")
    return RetryAt(now + backoff.delay(job.attempt, jitter=jitter), error, reason=Reason.WORKER_LOST)
