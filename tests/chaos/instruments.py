"""Makes a worker tell each claim and each write under a lease, and lets the agent know its attempt."""

import os
import time
from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Any

from app.errors import LeaseLost
from app.jobs.lock import StoreLock
from app.jobs.models import Job
from app.jobs.store import JobStore
from app.tasks.handler import TaskHandler
from app.workflows.executions.driver import Driver
from app.workflows.executions.handler import StepHandler
from app.workflows.executions.journal import Journal
from tests.chaos.agents import current_attempt, history_file

# Set to anything: all workers sweep, at once, as if each held the lock.
EVERYBODY_SWEEPS = "CHAOS_EVERYBODY_SWEEPS"
Method = Callable[..., Awaitable[Any]]


def install() -> None:
    """Wrap the product's classes in this process."""
    for owner, name, wrap in (
        (TaskHandler, "__call__", _telling_the_agent),
        (StepHandler, "__call__", _telling_the_agent),
        (Driver, "drive", _telling_drives),
        (Journal, "hand_out", _telling_claims_at_birth),
        (JobStore, "claim", _telling_claims),
        (JobStore, "claim_first", _telling_claims),
        (JobStore, "claim_suspended", _telling_claims),
        (JobStore, "save", _telling_writes),
        (JobStore, "settle", _telling_writes),
        (StoreLock, "acquire", _telling_turns),
    ):
        setattr(owner, name, wrap(getattr(owner, name)))


def _telling_the_agent(call: Method) -> Method:
    async def wrapper(self: Any, attempt: Any) -> Any:
        current_attempt.set(attempt)
        return await call(self, attempt)

    return wrapper


def _telling_claims(claim: Method) -> Method:
    async def wrapper(self: Any, wanted: str, **options: Any) -> Job | None:
        began = time.monotonic()
        job: Job | None = await claim(self, wanted, **options)
        if job is not None:
            _note("claimed", job, began, f"{lateness(job):.3f}")
        elif claim.__name__ == "claim":
            history_file().note("claim_refused", wanted, began=began)
        return job

    wrapper.__name__ = claim.__name__
    return wrapper


def _telling_claims_at_birth(hand_out: Method) -> Method:
    async def wrapper(self: Any, *arguments: Any, worker: str | None) -> Job | None:
        began = time.monotonic()
        job: Job | None = await hand_out(self, *arguments, worker=worker)
        if job is not None and job.lease is not None:
            _note("claimed", job, began)
        return job

    return wrapper


def _telling_drives(drive: Method) -> Method:
    async def wrapper(self: Any, attempt: Any) -> Any:
        _note("driving", attempt.job, time.monotonic())
        return await drive(self, attempt)

    return wrapper


def lateness(job: Job) -> float:
    """Seconds from when the job was due to its claim, both by the store's clock."""
    claimed_at: datetime = job.document["history"][-1]["at"]
    return (claimed_at - job.not_before).total_seconds()


def _telling_turns(acquire: Method) -> Method:
    was_ours = False

    async def wrapper(self: Any) -> bool:
        nonlocal was_ours
        is_ours = EVERYBODY_SWEEPS in os.environ or await acquire(self)
        if is_ours and not was_ours:
            history_file().note("sweeps", "")
        was_ours = is_ours
        return is_ours

    return wrapper


def _telling_writes(write: Method) -> Method:
    kind = {"save": "saved", "settle": "settled"}[write.__name__]

    async def wrapper(self: Any, job: Job, *arguments: Any, **options: Any) -> None:
        began = time.monotonic()
        detail = type(arguments[0]).__name__ if kind == "settled" else ""
        try:
            await write(self, job, *arguments, **options)
        except LeaseLost:
            _note("write_refused", job, began, detail)
            raise
        _note(kind, job, began, detail)

    wrapper.__name__ = write.__name__
    return wrapper


def _note(kind: str, job: Job, began: float, detail: str = "") -> None:
    lease = job.lease
    history_file().note(
        kind,
        job.id,
        token=lease.token if lease else "",
        attempt=job.attempt,
        worker=lease.worker if lease else "",
        detail=detail,
        began=began,
    )
