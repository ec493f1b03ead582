"""The sweep: what makes every accepted job end, whatever was lost on the way.

It releases the jobs of workers that fell silent, ends what is overdue, and rings again for what the broker has
evidently lost. Several sweeps at once are harmless: every step is a guarded write.
"""

import random
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import structlog

from app.clock import Clock
from app.jobs.doorbell import RingFor
from app.jobs.models import Job
from app.jobs.outcomes import Cancelled, Outcome
from app.jobs.recovery import BATCH, Recovery
from app.jobs.retry import RetryPolicy, decide_after_lost_worker
from app.jobs.workers import WorkerDirectory

log = structlog.get_logger(__name__)

# A timer that nobody rang for so long after its time tells that nobody sweeps.
EVIDENT = timedelta(milliseconds=100)


@dataclass(frozen=True, slots=True)
class SweepReport:
    """What one sweep did."""

    released: int = 0
    ended: int = 0
    rung: int = 0

    def __bool__(self) -> bool:
        return bool(self.released or self.ended or self.rung)


def decide_lost(job: Job, *, policy: RetryPolicy, now: datetime, in_company: bool = False) -> Outcome:
    """What becomes of a job that nobody works on although it was claimed."""
    if job.cancel_requested_at is not None:
        return Cancelled()
    jitter = random.random()  # noqa: S311 - spreads load, guards nothing
    return decide_after_lost_worker(job, policy=policy, now=now, jitter=jitter, in_company=in_company)


class Sweeper:
    """Heals one collection of jobs."""

    def __init__(
        self,
        recovery: Recovery,
        workers: WorkerDirectory,
        *,
        policy_of: Callable[[Job], RetryPolicy],
        lease: timedelta,
        clock: Clock,
        interval: timedelta,
        ring: RingFor,
        remind: Callable[[Job, datetime], None],
        measure_depth: Callable[[], Awaitable[int | None]],
        broker_answers: Callable[[], bool],
        on_change: Callable[[str], None],
        others: Sequence[Recovery] = (),
        sharing: Sequence[Recovery] = (),
    ) -> None:
        """``interval`` is the time to the next sweep; ``remind`` rings for a job at a time before that.

        ``others`` are all other collections that the same workers hold jobs of; ``sharing`` are those of them whose
        messages wait in the same queue.
        """
        self._recovery = recovery
        self._workers = workers
        self._policy_of = policy_of
        self._lease = lease
        self._clock = clock
        self._interval = interval
        self._ring = ring
        self._remind = remind
        self._measure_depth = measure_depth
        self._broker_answers = broker_answers
        self._on_change = on_change
        self._others = others
        self._sharing = sharing

    async def sweep(self) -> SweepReport:
        if not await self._recovery.has_open():
            # Nothing to heal: with several collections, most sweeps find nothing in most of them.
            await self._forget_all(await self._workers.list_expired())
            return SweepReport()
        released = await self._release_lost()
        ended = await self._end_overdue() + await self._end_unheeded()
        report = SweepReport(released, ended, await self._ring_again())
        if report:
            log.info("sweep.healed", released=report.released, ended=report.ended, rung=report.rung)
        return report

    async def stand_in(self) -> int:
        """Ring for timers in place of a sweep that evidently does not: the process whose turn it is may have died.

        Until its lock can be taken over, timers would be late by that much.
        """
        if not await self._recovery.list_due(within=-EVIDENT, limit=1):
            return 0
        rung = 0
        for job in await self._recovery.list_due(within=self._interval, limit=BATCH):
            if job.not_before > self._clock():
                self._remind(job, job.not_before)
            elif await self._ring_for(job):
                rung += 1
            else:
                # Somebody else is at it.
                break
        return rung

    async def _release_lost(self) -> int:
        expired = await self._workers.list_expired()
        lost = await self._recovery.list_held_by(list(expired)) if expired else []
        known = await self._workers.list_known()
        lost += await self._recovery.list_orphans(known, started_before=self._clock() - self._lease)
        # The larger number: a sweep before this one may have released all but one, and then died itself.
        held = Counter(_holder(job) for job in lost) | Counter(expired)
        released = sum([await self._release(job, in_company=held[_holder(job)] > 1) for job in lost])
        if len(lost) < BATCH:
            await self._forget_all(expired)
        return released

    async def _forget_all(self, workers: Iterable[str]) -> None:
        for worker in workers:
            # Who sweeps the other collections has to find it among the expired ones.
            if not any([await recovery.list_held_by([worker], limit=1) for recovery in self._others]):
                await self._workers.forget(worker)

    async def _release(self, job: Job, *, in_company: bool) -> bool:
        outcome = decide_lost(job, policy=self._policy_of(job), now=self._clock(), in_company=in_company)
        changed = await self._recovery.release(job, outcome)
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
        rung = await self._ring_in_time()
        if await self._recovery.list_silent(limit=1) and await self._broker_lost_some():
            rung += await self._ring_each(await self._recovery.list_silent())
        return rung

    async def _ring_in_time(self) -> int:
        """Ring for what is due, and see to it that what becomes due before the next sweep is rung for on time."""
        rung = 0
        for job in await self._recovery.list_due(within=self._interval):
            if job.not_before > self._clock():
                self._remind(job, job.not_before)
            else:
                rung += await self._ring_for(job)
        return rung

    async def _ring_each(self, jobs: list[Job]) -> int:
        return sum([await self._ring_for(job) for job in jobs])

    async def _ring_for(self, job: Job) -> bool:
        rung = await self._recovery.mark_rung(job.id, lane=job.lane, dispatches=job.dispatches)
        if rung:
            self._ring(job.id, job.stage)
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
        startable = [await one.count_startable(limit=queued + 1) for one in (self._recovery, *self._sharing)]
        return queued < sum(startable)


def _holder(job: Job) -> str:
    return job.lease.worker if job.lease else ""
