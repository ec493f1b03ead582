"""The sweep: what makes every accepted job end, whatever was lost on the way.

It releases the jobs of workers that fell silent, ends what is overdue, and rings again for what the broker has
evidently lost. Several sweeps at once are harmless: every step is a guarded write.
"""

import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

import structlog

from app.clock import Clock
from app.jobs.models import Job
from app.jobs.outcomes import Cancelled, Outcome
from app.jobs.recovery import BATCH, Recovery
from app.jobs.retry import Backoff, decide_after_lost_worker
from app.jobs.workers import WorkerDirectory

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class SweepReport:
    """What one sweep did."""

    released: int = 0
    ended: int = 0
    rung: int = 0

    def __bool__(self) -> bool:
        return bool(self.released or self.ended or self.rung)


def decide_lost(job: Job, *, backoff: Backoff, now: datetime) -> Outcome:
    """What becomes of a job that nobody works on although it was claimed."""
    if job.cancel_requested_at is not None:
        return Cancelled()
    return decide_after_lost_worker(job, backoff=backoff, now=now, jitter=random.random())  # noqa: S311


class Sweeper:
    """Heals one collection of jobs."""

    def __init__(
        self,
        recovery: Recovery,
        workers: WorkerDirectory,
        *,
        backoff: Backoff,
        lease: timedelta,
        clock: Clock,
        ring: Callable[[str, int], None],
        measure_depth: Callable[[], Awaitable[int | None]],
        broker_answers: Callable[[], bool],
        on_change: Callable[[str], None],
    ) -> None:
        self._recovery = recovery
        self._workers = workers
        self._backoff = backoff
        self._lease = lease
        self._clock = clock
        self._ring = ring
        self._measure_depth = measure_depth
        self._broker_answers = broker_answers
        self._on_change = on_change

    async def sweep(self) -> SweepReport:
        released = await self._release_lost()
        ended = await self._end_overdue() + await self._end_unheeded()
        report = SweepReport(released, ended, await self._ring_again())
        if report:
            log.info("sweep.healed", released=report.released, ended=report.ended, rung=report.rung)
        return report

    async def _release_lost(self) -> int:
        expired = await self._workers.list_expired()
        lost = await self._recovery.list_held_by(expired) if expired else []
        known = await self._workers.list_known()
        lost += await self._recovery.list_orphans(known, started_before=self._clock() - self._lease)
        released = sum([await self._release(job) for job in lost])
        if len(lost) < BATCH:
            for worker in expired:
                await self._workers.forget(worker)
        return released

    async def _release(self, job: Job) -> bool:
        changed = await self._recovery.release(job, decide_lost(job, backoff=self._backoff, now=self._clock()))
        if changed:
            log.warning("job.worker_lost", task_id=job.id, attempt=job.attempt)
            self._on_change(job.id)
        return changed

    async def _end_overdue(self) -> int:
        ended = 0
        for job in await self._recovery.list_overdue():
            if await self._recovery.fail_overdue(job):
                self._on_change(job.id)
                ended += 1
        return ended

    async def _end_unheeded(self) -> int:
        ended = 0
        for job in await self._recovery.list_unheeded():
            if await self._recovery.cancel_unheeded(job):
                self._on_change(job.id)
                ended += 1
        return ended

    async def _ring_again(self) -> int:
        rung = await self._ring_each(await self._recovery.list_due())
        if await self._recovery.list_silent(limit=1) and await self._broker_lost_some():
            rung += await self._ring_each(await self._recovery.list_silent())
        return rung

    async def _ring_each(self, jobs: list[Job]) -> int:
        rung = 0
        for job in jobs:
            if await self._recovery.mark_rung(job.id, dispatches=job.dispatches):
                self._ring(job.id, job.priority)
                rung += 1
        return rung

    async def _broker_lost_some(self) -> bool:
        """True unless at least as many messages wait in the queue as jobs wait in the store.

        A job behind a long queue is not lost, and another message for it would only make the queue longer.
        """
        queued = await self._measure_depth()
        if queued is None:
            # Ringing for a broker that is away would only lengthen the pauses for when it is back.
            return self._broker_answers()
        if queued == 0:
            return True
        return queued < await self._recovery.count_waiting(limit=queued + 1)
