"""What waits to be started, lane by lane: reads, parking and the way back. The states of jobs are the store's."""

from datetime import timedelta

from app.clock import Clock
from app.database.documents import Document, Documents, Sort
from app.jobs import transitions
from app.jobs.lanes import PARKED, parking_lane
from app.jobs.models import Job, Status
from app.jobs.store import BY_RANK

BY_LANE: Sort = (("lane", 1),)
# More lanes than this are served in turns.
MOST_LANES = 200
TRIES = 5


class JobQueue:
    """The waiting jobs of one collection."""

    def __init__(self, documents: Documents, *, clock: Clock, redispatch: timedelta) -> None:
        self._documents = documents
        self._clock = clock
        self._redispatch = redispatch

    async def list_lanes(self, *, after: str = "", limit: int = MOST_LANES) -> list[str]:
        """Tenants with something to start, by name, behind ``after``.

        One index look-up for each, however many jobs wait in it.
        """
        return await self._list_lanes(after, PARKED, limit)

    async def list_parking_lanes(self, *, limit: int = MOST_LANES) -> list[str]:
        return await self._list_lanes(PARKED, None, limit)

    async def park(self, job: Job, permit: str) -> bool:
        """Put a startable job aside until there is a permit for it; False when somebody else was faster."""
        waiting = {"_id": job.id, "status": Status.QUEUED.value, "lane": {"$not": {"$gte": PARKED}}}
        return await self._documents.update_one(waiting, transitions.parked(permit))

    async def unpark_first(self, permit: str) -> str | None:
        """Make the first of those that wait for a permit startable again; answers its id, to ring for it."""
        for _ in range(TRIES):
            first = await self._find_first(parking_lane(permit))
            if first is None:
                return None
            now = self._clock()
            still_parked = {"_id": first["_id"], "status": first["status"], "lane": first["lane"]}
            change = transitions.rung(now, now + self._redispatch, lane=first["tenant_id"])
            if await self._documents.update_one(still_parked, change):
                return str(first["_id"])
        return None

    async def _list_lanes(self, after: str, before: str | None, limit: int) -> list[str]:
        lanes: list[str] = []
        last = after
        while len(lanes) < limit:
            bounds = {"$gt": last} | ({"$lt": before} if before else {})
            found = await self._documents.find_many({"lane": bounds}, sort=BY_LANE, limit=1, fields=["lane"])
            if not found:
                break
            last = found[0]["lane"]
            lanes.append(last)
        return lanes

    async def _find_first(self, lane: str) -> Document | None:
        fields = ("status", "lane", "tenant_id")
        found = await self._documents.find_many({"lane": lane}, sort=BY_RANK, limit=1, fields=fields)
        return found[0] if found else None
