"""What waits to be started, lane by lane: reads, parking and the way back. The states of jobs are the store's."""

from datetime import timedelta

from app.clock import Clock
from app.database.documents import Document, Documents, Sort
from app.jobs import transitions
from app.jobs.lanes import PARKED, Stage, end_of_parking, lanes_of, parking_lane, permit_waited_for
from app.jobs.models import Job, Status
from app.jobs.store import BY_RANK

BY_LANE: Sort = (("lane", 1), *BY_RANK)
# More lanes than this are served in turns.
MOST_LANES = 200
TRIES = 5


class JobQueue:
    """The waiting jobs of one collection."""

    def __init__(self, documents: Documents, *, clock: Clock, redispatch: timedelta) -> None:
        self._documents = documents
        self._clock = clock
        self._redispatch = redispatch
        # By permit, the lane that was last unparked from.
        self._unparked: dict[str, str] = {}

    async def list_lanes(self, *, stage: Stage | None = None, after: str = "", limit: int = MOST_LANES) -> list[str]:
        """Lanes with something to start at this stage, by name, behind ``after``.

        One index look-up for each, however many jobs wait in it.
        """
        lanes: list[str] = []
        begin, end = lanes_of(stage)
        while len(lanes) < limit and (first := await self._find_first(lanes[-1] if lanes else after or begin, end)):
            lanes.append(first["lane"])
        return lanes

    async def list_awaited_permits(self, *, after: str = "", limit: int = MOST_LANES) -> list[str]:
        """Permits that parked jobs wait for, by name, behind ``after``: one index look-up for each."""
        permits: list[str] = []
        begin = end_of_parking(after) if after else PARKED
        while len(permits) < limit and (first := await self._find_first(begin, None)):
            permits.append(permit_waited_for(first["lane"]) or "")
            begin = end_of_parking(permits[-1])
        return permits

    async def find_suspect(self) -> str | None:
        """The first due job that is to run apart from others of its kind, and waits for no permit."""
        due = {"status": Status.QUEUED.value, "not_before": {"$lte": self._clock()}}
        suspect = {"alone": True, **due, "lane": {"$not": {"$gte": PARKED}}}
        found = await self._documents.find_many(suspect, sort=BY_RANK, limit=1, fields=["_id"])
        return str(found[0]["_id"]) if found else None

    async def park(self, job: Job, permit: str) -> bool:
        """Put a startable job aside until there is a permit for it; False when somebody else was faster."""
        # One that was tried meanwhile and has to wait for its time must not be startable before.
        same = {"_id": job.id, "status": Status.QUEUED.value, "not_before": job.not_before}
        change = transitions.parked(permit, tenant_id=job.tenant_id)
        return await self._documents.update_one(same | {"lane": {"$not": {"$gte": PARKED}}}, change)

    async def unpark_next(self, permit: str) -> str | None:
        """Make one of those that wait for a permit startable again; answers its id, to ring for it.

        It is the first of its tenant, and tenants take turns.
        """
        for _ in range(TRIES):
            first = await self._find_next_parked(permit)
            if first is None:
                return None
            now = self._clock()
            still_parked = {"_id": first["_id"], "status": first["status"], "lane": first["lane"]}
            change = transitions.rung(now, now + self._redispatch, lane=first["tenant_id"])
            if await self._documents.update_one(still_parked, change):
                return str(first["_id"])
        return None

    async def _find_next_parked(self, permit: str) -> Document | None:
        begin, end = parking_lane(permit, ""), end_of_parking(permit)
        last = self._unparked.pop(permit, begin)
        first = await self._find_first(last, end)
        if first is None and last != begin:
            first = await self._find_first(begin, end)
        if first is not None:
            self._unparked[permit] = first["lane"]
        return first

    async def _find_first(self, after: str, before: str | None) -> Document | None:
        bounds = {"$gt": after} | ({"$lt": before} if before else {})
        fields = ("status", "lane", "tenant_id")
        found = await self._documents.find_many({"lane": bounds}, sort=BY_LANE, limit=1, fields=fields)
        return found[0] if found else None
