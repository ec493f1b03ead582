"""Which job a worker starts when the bell rings, and whether it may.

A message says that something is to be done; what is done is decided here. Without a backlog it is the job the message
names. With one it is the first job of the tenant whose turn it is, so that nobody's ten thousand messages delay
another's ten. Limits are permits in the store: what gets none is put aside until somebody gives one back.
"""

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, nullcontext
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from app.clock import Clock
from app.ids import new_token
from app.jobs.lanes import Stage
from app.jobs.limits import Limit, Limits
from app.jobs.models import Job
from app.jobs.parking import MOST_PARKED_AT_ONCE, Parking
from app.jobs.permits import Permits
from app.jobs.queue import MOST_LANES, JobQueue
from app.jobs.store import JobStore
from app.jobs.turns import Turns

# A job that waited longer than this tells of a backlog, which is believed in for a while.
LONG_WAIT = timedelta(milliseconds=250)
BACKLOG_MEMORY = 1.0


class NotAdmitted(Exception):
    """Control flow: an attempt must wait for a permit; the kernel puts its job aside until there is one."""

    def __init__(self, permit: str) -> None:
        super().__init__(permit)
        self.permit = permit


@dataclass(frozen=True, slots=True)
class Taken:
    """A claimed job and the permits that are held for it."""

    job: Job
    permits: tuple[str, ...] = ()


class Dispatcher:
    """Takes jobs for one worker process. All its methods belong to the event loop."""

    def __init__(
        self,
        store: JobStore,
        queue: JobQueue,
        permits: Permits,
        parking: Parking,
        *,
        kind: str,
        weights: Mapping[str, float],
        limits: Limits,
        agent_of: Callable[[Mapping[str, Any]], str | None],
        ring: Callable[[str], None],
        clock: Clock,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """``kind`` is the collection's name; ``weights`` are the shares of tenants, as `FairOrder` has them.

        ``agent_of`` reads from a job's document which agent will do it, None while nobody knows.
        """
        self._store = store
        self._queue = queue
        self._permits = permits
        self._parking = parking
        self._kind = kind
        self._limits = limits
        self._agent_of = agent_of
        self._ring = ring
        self._clock = clock
        self._monotonic = monotonic
        # Which job is next may take several tries when there are limits. Side by side all would try the same ones,
        # and hold permits while they do.
        self._turn: AbstractAsyncContextManager[object] = asyncio.Lock() if limits else nullcontext()
        self._backlog_until = 0.0
        self._turns = {stage: Turns(queue, weights, stage=stage, monotonic=monotonic) for stage in (None, *Stage)}

    async def take(
        self, job_id: str, *, worker: str, may_run_alone: bool = True, stage: Stage | None = None
    ) -> Taken | None:
        """Claim the job that is to be started for this message; None when there is nothing to start.

        For a message about a ``stage`` it is one that waits for that; without, one that waits for the rest.
        """
        claim = _Claim(worker, may_run_alone, stage)
        taken = None
        async with self._turn:
            if self._monotonic() >= self._backlog_until:
                taken = await self._take_named(job_id, claim)
            # Also when the named one is gone: its own message may have started another job instead.
            taken = taken or await self._take_fairly(claim)
        if taken is not None:
            self._note_wait(taken.job)
        return taken

    async def admit(self, job: Job, agent: str, *, held: Sequence[str]) -> str | None:
        """Acquire what running this agent needs, for a job whose agent became known only in this attempt.

        Answers the permit that is held from now on beside those ``held``, None when none is needed; raises
        `NotAdmitted`.
        """
        limit = self._limits.of_agent(agent)
        if limit is None or limit.permit in held:
            return None
        if not await self._acquire(limit, job, _token(job)):
            raise NotAdmitted(limit.permit)
        return limit.permit

    async def give_back(self, job: Job, permits: Sequence[str]) -> None:
        """Release what a claim of the job held, and start what waits for it."""
        await self._release(permits, _token(job))
        for permit in permits:
            await self.start_waiting(permit)
        if job.alone and (suspect := await self._queue.find_suspect()):
            # Messages for the other suspects found this one running and did nothing.
            self._ring(suspect)

    async def start_waiting(self, permit: str) -> int:
        """Ring for the jobs, of every collection, that may go on now that the permit may be had; answers how many."""
        return await self._parking.start_waiting(permit)

    async def _take_named(self, job_id: str, claim: "_Claim") -> Taken | None:
        if not self._limits:
            job = await self._store.claim(
                job_id, worker=claim.worker, may_run_alone=claim.may_run_alone, stage=claim.stage
            )
            return Taken(job) if job else None
        candidate = await self._store.find_startable(job_id, may_run_alone=claim.may_run_alone, stage=claim.stage)
        if candidate is None:
            return None
        taken = await self._try(candidate, claim)
        return taken if isinstance(taken, Taken) else None

    async def _take_fairly(self, claim: "_Claim") -> Taken | None:
        turns = self._turns[claim.stage]
        if has_read := turns.are_outdated:
            await turns.read()
        for _ in range(2 * MOST_LANES):
            lane = turns.order.next_lane()
            if lane is None:
                if has_read:
                    return None
                await turns.read()
                has_read = True
                continue
            if taken := await self._take_first(lane, claim):
                return taken
            turns.order.leave(lane)
        return None

    async def _take_first(self, lane: str, claim: "_Claim") -> Taken | None:
        if not self._limits:
            job = await self._store.claim_first(lane, worker=claim.worker, may_run_alone=claim.may_run_alone)
            return Taken(job) if job else None
        for _ in range(MOST_PARKED_AT_ONCE):
            candidate = await self._store.find_first(lane, may_run_alone=claim.may_run_alone)
            if candidate is None:
                return None
            taken = await self._try(candidate, claim)
            if isinstance(taken, Taken):
                return taken
            if taken is not None and taken == self._limits.of_tenant(candidate.tenant_id):
                # Nobody else in this lane would get one either.
                return None
        return None

    async def _try(self, candidate: Job, claim: "_Claim") -> "Taken | Limit | None":
        """Claim it with its permits; a limit when that is what it has to wait for, None when somebody was faster."""
        token, held = new_token(), list[str]()
        for limit in self._limits_of(candidate):
            if not await self._acquire(limit, candidate, token):
                await self._release(held, token)
                await self._park(candidate, limit)
                return limit
            held.append(limit.permit)
        job = await self._store.claim(candidate.id, worker=claim.worker, token=token, may_run_alone=claim.may_run_alone)
        if job is None:
            await self._release(held, token)
            return None
        return Taken(job, tuple(held))

    async def _park(self, job: Job, limit: Limit) -> None:
        await self._queue.park(job, limit.permit)
        # Given back between our asking and our parking, a permit would have found nobody who waits for it.
        if await self._permits.count_free(limit):
            await self.start_waiting(limit.permit)

    async def _acquire(self, limit: Limit, job: Job, token: str) -> bool:
        return await self._permits.acquire(limit, kind=self._kind, token=token, job_id=job.id)

    async def _release(self, permits: Sequence[str], token: str) -> None:
        for permit in permits:
            await self._permits.release(permit, token=token)

    def _limits_of(self, job: Job) -> list[Limit]:
        if job.stage is not None:
            # Short, and it tells what the work will need.
            return []
        known = (self._limits.of_tenant(job.tenant_id), self._limits.of_agent(self._agent_of(job.document)))
        return [limit for limit in known if limit is not None]

    def _note_wait(self, job: Job) -> None:
        waited_since = job.dispatched_at or job.not_before
        if self._clock() - waited_since > LONG_WAIT:
            self._backlog_until = self._monotonic() + BACKLOG_MEMORY


@dataclass(frozen=True, slots=True)
class _Claim:
    worker: str
    may_run_alone: bool
    stage: Stage | None


def _token(job: Job) -> str:
    return job.lease.token if job.lease else ""
