"""Permits to run, shared by all workers: a counting semaphore per tenant and per agent, one document each.

A permit is held under the lease token of one claim, so a stalled attempt can give back only its own.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from app.clock import Clock
from app.database.documents import Document, Documents
from app.database.errors import DuplicateDocument
from app.jobs.limits import Limit
from app.jobs.models import Status
from app.jobs.workers import SYSTEM_TENANT

COLLECTION = "permits"
MOST_PERMITS = 1000


@dataclass(frozen=True, slots=True)
class Holder:
    """Who holds a permit: one claim of one job."""

    permit: str
    token: str
    job_id: str
    since: datetime


class Permits:
    def __init__(self, documents: Documents, jobs: Documents, *, clock: Clock, patience: timedelta) -> None:
        """``patience`` must exceed the time between taking a permit and the claim it is taken for."""
        self._documents = documents.of_tenant(SYSTEM_TENANT)
        self._jobs = jobs
        self._clock = clock
        self._patience = patience

    async def acquire(self, limit: Limit, *, token: str, job_id: str) -> bool:
        """True when there was one left."""
        holder = {"token": token, "job_id": job_id, "at": self._clock()}
        below = {"_id": limit.permit, "held": {"$lt": limit.most}}
        try:
            return await self._documents.update_one(
                below, {"$inc": {"held": 1}, "$push": {"holders": holder}}, upsert=True
            )
        except DuplicateDocument:
            # The document is there and did not match: nothing is left.
            return False

    async def release(self, permit: str, *, token: str) -> bool:
        """False when it was not held, which is harmless."""
        return await self._documents.update_one(
            {"_id": permit, "holders.token": token}, {"$inc": {"held": -1}, "$pull": {"holders": {"token": token}}}
        )

    async def count_free(self, limit: Limit) -> int:
        found = await self._documents.find_one({"_id": limit.permit}, fields=["held"])
        return max(limit.most - (found["held"] if found else 0), 0)

    async def list_stale(self) -> list[Holder]:
        """Holders that no running claim stands behind: their worker died, or its answer was lost."""
        documents = await self._documents.find_many({"held": {"$gt": 0}}, limit=MOST_PERMITS)
        return [holder for document in documents for holder in await self._stale_of(document)]

    async def _stale_of(self, document: Document) -> list[Holder]:
        before = self._clock() - self._patience
        old = [held for held in document["holders"] if held["at"] < before]
        if not old:
            return []
        running = await self._list_running([held["job_id"] for held in old])
        return [
            Holder(document["_id"], held["token"], held["job_id"], held["at"])
            for held in old
            if running.get(held["job_id"]) != held["token"]
        ]

    async def _list_running(self, job_ids: list[str]) -> Mapping[str, Any]:
        where = {"_id": {"$in": job_ids}, "status": Status.PROCESSING.value}
        found = await self._jobs.find_many(where, limit=len(job_ids), fields=["lease.token"])
        return {job["_id"]: job["lease"]["token"] for job in found}
