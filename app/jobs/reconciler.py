"""Gives back what a live worker holds in the store without working on it.

It happens when the answer to a claim was lost on the way, or an outcome could not be written: the store says that
this worker has the job, and no coroutine does. No other worker would ever look at it, since the lease is renewed.
"""

from collections.abc import Callable
from datetime import timedelta

import structlog

from app.clock import Clock
from app.jobs.models import Job
from app.jobs.outcomes import Outcome
from app.jobs.recovery import Recovery
from app.jobs.runner import JobRunner

log = structlog.get_logger(__name__)


class Reconciler:
    """Compares the worker's jobs in the store with what runs."""

    def __init__(
        self,
        recovery: Recovery,
        runner: JobRunner,
        *,
        patience: timedelta,
        clock: Clock,
        decide: Callable[[Job], Outcome],
        on_released: Callable[[Job, Outcome], None],
    ) -> None:
        """``patience`` must exceed the longest time a claim can be on its way."""
        self._recovery = recovery
        self._runner = runner
        self._patience = patience
        self._clock = clock
        self._decide = decide
        self._on_released = on_released

    async def release_forgotten(self, worker: str) -> int:
        """Release the jobs that ``worker`` holds and does not run; answers how many."""
        released = 0
        for job in await self._recovery.list_held_by([worker], claimed_before=self._clock() - self._patience):
            if self._runner.is_running(job):
                continue
            outcome = self._decide(job)
            if await self._recovery.release(job, outcome):
                log.warning("job.forgotten", task_id=job.id, attempt=job.attempt)
                self._on_released(job, outcome)
                released += 1
        return released
