"""What waits for a permit, in all collections of jobs, and how it goes on when there is one."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import structlog

from app.jobs.limits import Limits
from app.jobs.permits import Permits
from app.jobs.queue import MOST_LANES, JobQueue

log = structlog.get_logger(__name__)

MOST_PARKED_AT_ONCE = 50


@dataclass(slots=True)
class Lot:
    """The parked jobs of one collection; ``ring`` calls a worker for one that may go on."""

    queue: JobQueue
    ring: Callable[[str], None]
    last_healed: str = ""

    async def start_next(self, permit: str) -> bool:
        """Let one that waits for the permit go on; False when none does."""
        job_id = await self.queue.unpark_next(permit)
        if job_id is not None:
            self.ring(job_id)
        return job_id is not None

    async def list_awaited(self) -> list[str]:
        """Permits that somebody waits for here; each call looks at those behind the last ones."""
        awaited = await self.queue.list_awaited_permits(after=self.last_healed)
        self.last_healed = awaited[-1] if len(awaited) == MOST_LANES else ""
        return awaited


class Parking:
    """All its methods belong to the event loop."""

    def __init__(self, permits: Permits, lots: Sequence[Lot], *, limits: Limits) -> None:
        self._permits = permits
        self._lots = list(lots)
        self._limits = limits

    async def start_waiting(self, permit: str) -> int:
        """Ring for as many of the jobs that wait for a permit as there are permits left; answers how many."""
        limit = self._limits.of_permit(permit)
        # Without a limit any more, everything may go, a batch at a time.
        free = MOST_PARKED_AT_ONCE if limit is None else await self._permits.count_free(limit)
        started = 0
        while started < min(free, MOST_PARKED_AT_ONCE) and await self._start_next(permit):
            started += 1
        return started

    async def heal(self) -> None:
        """Take back the permits of claims that are no more, and start what waits although it need not."""
        stale = await self._permits.list_stale()
        for holder in stale:
            log.warning("permit.taken_back", permit=holder.permit, kind=holder.kind, job_id=holder.job_id)
            await self._permits.release(holder.permit, token=holder.token)
        awaited = [permit for lot in self._lots for permit in await lot.list_awaited()]
        for permit in {*awaited, *(holder.permit for holder in stale)}:
            await self.start_waiting(permit)

    async def _start_next(self, permit: str) -> bool:
        for lot in list(self._lots):
            # Collections take turns, also from one permit to the next.
            self._lots.append(self._lots.pop(0))
            if await lot.start_next(permit):
                return True
        return False
