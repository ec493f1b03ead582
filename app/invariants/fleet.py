"""What the workers' documents say: who lives, since when, with how much room."""

from datetime import datetime, timedelta

from app.clock import Clock
from app.database.documents import Document, Documents
from app.invariants.models import Invariant, Offender

MOST_WORKERS = 5000
FIELDS = ("started_at", "slots", "in_flight")


class Fleet:
    def __init__(self, workers: Documents, *, clock: Clock) -> None:
        self._workers = workers
        self._clock = clock

    async def list_known(self) -> list[str]:
        return [one["_id"] for one in await self._workers.find_many({}, limit=MOST_WORKERS, fields=["_id"])]

    async def list_expired(self, *, before: datetime) -> list[str]:
        expired = {"expires_at": {"$lte": before}}
        return [one["_id"] for one in await self._workers.find_many(expired, limit=MOST_WORKERS, fields=["_id"])]

    async def has_worker(self, *, since: datetime) -> bool:
        """Whether a worker lives that has lived at this moment already."""
        return bool(await self._list_settled(since))

    async def has_free_slot(self, *, since: datetime) -> bool:
        return any(one["in_flight"] < one["slots"] for one in await self._list_settled(since))

    async def _list_settled(self, since: datetime) -> list[Document]:
        live = await self._workers.find_many({"expires_at": {"$gt": self._clock()}}, limit=MOST_WORKERS, fields=FIELDS)
        return [one for one in live if one["started_at"] <= since]


class Attended:
    """An invariant that is owed only while a worker has lived for a while: without one nothing heals."""

    def __init__(self, inner: Invariant, fleet: Fleet, *, clock: Clock, settling: timedelta) -> None:
        self.name = inner.name
        self.promise = inner.promise
        self._inner = inner
        self._fleet = fleet
        self._clock = clock
        self._settling = settling

    async def list_offenders(self, *, limit: int) -> list[Offender]:
        if not await self._fleet.has_worker(since=self._clock() - self._settling):
            return []
        return await self._inner.list_offenders(limit=limit)
