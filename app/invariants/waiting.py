"""Jobs that wait although somebody could start them."""

from datetime import timedelta

from app.clock import Clock, to_iso
from app.database.documents import Document
from app.invariants.fleet import Fleet
from app.invariants.models import FIELDS, Offender, Watched, offenders
from app.jobs.models import Status
from app.jobs.queue import JobQueue
from app.jobs.store import BY_RANK


class Stalled:
    """Looks at the first job of each lane, which is the next to be started: with progress it is soon another one."""

    name = "stalled_job"
    promise = "a due job is started while workers have free slots"

    def __init__(self, jobs: Watched, queue: JobQueue, fleet: Fleet, *, clock: Clock, patience: timedelta) -> None:
        """``patience`` must exceed the longest pause after which a waiting job is rung again."""
        self._jobs = jobs
        self._queue = queue
        self._fleet = fleet
        self._clock = clock
        self._patience = patience

    async def list_offenders(self, *, limit: int) -> list[Offender]:
        since = self._clock() - self._patience
        if not await self._fleet.has_free_slot(since=since):
            return []
        found: list[Offender] = []
        for lane in await self._queue.list_lanes():
            first = await self._first_of(lane)
            if first is not None and first["not_before"] <= since:
                found += offenders(self._jobs, [first], due_since=to_iso(first["not_before"]))
        return found[:limit]

    async def _first_of(self, lane: str) -> Document | None:
        # One that has to run alone waits for that, not for a slot.
        startable = {"lane": lane, "status": Status.QUEUED.value, "alone": {"$ne": True}}
        found = await self._jobs.documents.find_many(startable, sort=BY_RANK, limit=1, fields=(*FIELDS, "not_before"))
        return found[0] if found else None
