"""Jobs and fakes of the kernel for tests, with a clock that only moves when told to."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol

from app.jobs.dispatch import Dispatcher
from app.jobs.lanes import Stage
from app.jobs.limits import Limits
from app.jobs.models import Job, Lease, NewJob, Status
from app.jobs.retry import Backoff, RetryPolicy
from app.jobs.store import JobStore

NOON = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
SECOND = timedelta(seconds=1)
LEASE = timedelta(seconds=15)
REDISPATCH = timedelta(seconds=8)
TENANT = "acme"
OTHER_TENANT = "globex"
NO_LIMITS = Limits()


class MakeDispatcher(Protocol):
    """Builds the dispatcher of one worker; those of one test share their store."""

    def __call__(
        self, *, store: JobStore = ..., limits: Limits = ..., weights: Mapping[str, float] = ...
    ) -> Dispatcher: ...


class FakeClock:
    """Stands still until it is moved."""

    def __init__(self, now: datetime = NOON) -> None:
        self.now = now

    def __call__(self) -> datetime:
        return self.now

    def advance(self, by: timedelta) -> None:
        self.now += by


class Recorder:
    """Remembers the rings it hears."""

    def __init__(self) -> None:
        self.rung: list[str] = []

    def ring(self, job_id: str, stage: Stage | None = None, /) -> None:
        self.rung.append(job_id)


def a_new_job(job_id: str = "job-1", **changes: Any) -> NewJob:
    return NewJob(**{"id": job_id, "tenant_id": TENANT, "fields": {"input_text": "x"}, "max_attempts": 3, **changes})


def a_job(**changes: Any) -> Job:
    defaults: dict[str, Any] = {
        "id": "job-1",
        "tenant_id": TENANT,
        "status": Status.PROCESSING,
        "attempt": 1,
        "max_attempts": 3,
        "created_at": NOON,
        "not_before": NOON,
        "lease": Lease("token", "w1"),
    }
    return Job(**{**defaults, **changes})


def a_policy(job: Job) -> RetryPolicy:
    """As many attempts as the job has, a second of backoff at first, no limit in all."""
    return RetryPolicy(job.max_attempts, Backoff(initial=SECOND, maximum=60 * SECOND))
