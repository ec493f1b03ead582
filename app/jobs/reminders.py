"""Rings for a requeued job at its time, from the worker that requeued it; the sweep does it if that worker is gone."""

import asyncio
from datetime import datetime, timedelta

import structlog

from app.cancellation import stop
from app.clock import Clock
from app.errors import OrchestratorError
from app.jobs.doorbell import RingFor
from app.jobs.lanes import Stage
from app.jobs.models import Job
from app.jobs.recovery import Recovery

log = structlog.get_logger(__name__)

# Longer waits are the sweep's: a timer per job must not pile up in memory.
LONGEST_REMINDER = timedelta(minutes=1)
CLOSING_PATIENCE = 2.0


class Reminders:
    """One timer per job at most; another reminder for the same time changes nothing."""

    def __init__(self, recovery: Recovery, ring: RingFor, *, clock: Clock) -> None:
        self._recovery = recovery
        self._ring = ring
        self._clock = clock
        self._pending: dict[tuple[str, datetime], asyncio.Task[None]] = {}

    def remind(self, job: Job, at: datetime) -> None:
        """Ring for the job at ``at``; must be called on the event loop."""
        key = (job.id, at)
        if at - self._clock() > LONGEST_REMINDER or key in self._pending:
            return
        # Only what the ring needs: thousands may wait, and a job holds its whole document.
        task = asyncio.create_task(self._ring_at(job.id, job.lane, job.stage, at), name="reminder")
        self._pending[key] = task
        task.add_done_callback(lambda _: self._pending.pop(key))

    async def close(self) -> None:
        """Ring for what is due and leave the rest to the sweep."""
        now = self._clock()
        due = [task for (_, at), task in self._pending.items() if at <= now]
        later = [task for (_, at), task in self._pending.items() if at > now]
        for task in later:
            await stop(task, patience=timedelta(milliseconds=200))
        if due:
            await asyncio.wait(due, timeout=CLOSING_PATIENCE)

    async def _ring_at(self, job_id: str, lane: str, stage: Stage | None, at: datetime) -> None:
        await asyncio.sleep(max((at - self._clock()).total_seconds(), 0))
        try:
            if await self._recovery.mark_rung(job_id, lane=lane, dispatches=0):
                self._ring(job_id, stage)
        except OrchestratorError as error:
            log.debug("reminder.left_to_sweep", error_type=error.code)
