"""The live worker processes, as documents that expire unless they are renewed."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from app.clock import Clock
from app.database.documents import Document, Documents
from app.database.indexes import Index

COLLECTION = "workers"
# Workers serve every tenant; the marker keeps the rule that each document names one.
SYSTEM_TENANT = "_system"
INDEXES = (Index(COLLECTION, (("expires_at", 1),)),)


@dataclass(frozen=True, slots=True)
class WorkerIdentity:
    """What a worker process says of itself."""

    id: str
    host: str
    pid: int
    queues: tuple[str, ...]
    slots: int
    version: str


def registration(worker: WorkerIdentity, *, now: datetime, lease: timedelta) -> dict[str, Any]:
    return {
        "_id": worker.id,
        "tenant_id": SYSTEM_TENANT,
        "host": worker.host,
        "pid": worker.pid,
        "queues": list(worker.queues),
        "slots": worker.slots,
        "in_flight": 0,
        "version": worker.version,
        "started_at": now,
        "expires_at": now + lease,
    }


def renewal(*, in_flight: int, now: datetime, lease: timedelta) -> dict[str, Any]:
    return {"$set": {"expires_at": now + lease, "in_flight": in_flight}}


def renewable(worker_id: str, now: datetime) -> dict[str, Any]:
    """Only a lease that has not run out can be renewed: an expired one may have been given away."""
    return {"_id": worker_id, "expires_at": {"$gt": now}}


class WorkerDirectory:
    """Who is alive, for the sweep, the metrics and `doctor`."""

    def __init__(self, documents: Documents, *, clock: Clock) -> None:
        self._documents = documents
        self._clock = clock

    async def list_live(self, *, queue: str | None = None) -> list[Mapping[str, Any]]:
        """All of them, or those that serve a queue."""
        live: Document = {"expires_at": {"$gt": self._clock()}}
        return list(await self._documents.find_many(live | ({"queues": queue} if queue else {}), limit=1000))

    async def list_expired(self) -> Mapping[str, int]:
        """Workers that fell silent, and how many jobs each had when it was last heard."""
        expired = {"expires_at": {"$lte": self._clock()}}
        found = await self._documents.find_many(expired, limit=1000, fields=["in_flight"])
        return {one["_id"]: one["in_flight"] for one in found}

    async def list_known(self) -> list[str]:
        return [one["_id"] for one in await self._documents.find_many({}, limit=5000, fields=["_id"])]

    async def forget(self, worker_id: str) -> None:
        """Remove an expired worker once its jobs are released; a renewed one stays."""
        await self._documents.delete_one({"_id": worker_id, "expires_at": {"$lte": self._clock()}})
