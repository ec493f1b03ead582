"""A runner of jobs for tests, and a handler that waits until it is told to go on."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Protocol

from app.errors import ExecutionError
from app.jobs.limits import Limits
from app.jobs.models import Job
from app.jobs.outcomes import Finished, Outcome
from app.jobs.retry import RetryPolicy
from app.jobs.runner import Attempt, JobRunner
from app.jobs.store import JobStore

Handler = Callable[[Attempt], Awaitable[Outcome]]


class MakeRunner(Protocol):
    def __call__(
        self,
        handler: Handler,
        *,
        store: JobStore = ...,
        timeout: timedelta = ...,
        limits: Limits = ...,
        policy_of: Callable[[Job], RetryPolicy] = ...,
    ) -> JobRunner: ...


class ProviderDown(ExecutionError):
    code = "LLM_ERROR"
    retryable = True


class Patient:
    """A handler that waits until it is told to go on."""

    def __init__(self) -> None:
        self.started = asyncio.Event()
        self.may_end = asyncio.Event()
        self.cancelled = False

    async def __call__(self, attempt: Attempt) -> Outcome:
        self.started.set()
        try:
            await self.may_end.wait()
        except asyncio.CancelledError:
            self.cancelled = True
            raise
        return Finished()


async def start(runner: JobRunner, handler: Patient) -> "asyncio.Task[Job | None]":
    task = asyncio.create_task(runner.run("job-1", worker="w1"))
    await handler.started.wait()
    return task
