"""Permits to run, shared by all workers: a counting semaphore per tenant and per agent, one document each.

A permit is held under the lease token of one claim, so a stalled attempt can give back only its own. All collections
of jobs share the permits; who holds one says in which it is.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from app.clock import Clock
from app.database.documents import Document, Documents, Sort
from app.database.errors import DuplicateDocument
from app.jobs.limits import Limit
from app.jobs.workers import SYSTEM_TENANT

COLLECTION = "permits"
# Of holders that do not say so: they were written when there was no other.
OLDEST_KIND = "tasks"
MOST_PERMITS = 1000
BY_NAME: Sort = (("_id", 1),)
# Who ends a claim gives its permits back at once; nobody need do it instead before this.
SETTLING = timedelta(seconds=1)


@dataclass(frozen=True, slots=True)
class Holder:
    """Who holds a permit: one claim of one job of the collection ``kind``."""

    permit: str
    kind: str
    token: str
    job_id: str
    since: datetime


class Permits:
    def __init__(
        self, documents: Documents, jobs: Mapping[str, Documents], *, clock: Clock, patience: timedelta
    ) -> None:
        """``jobs`` are the collections of those who may hold permits, by kind.

        ``patience`` must exceed the time between taking a permit and the claim it is taken for.
        """
        self._documents = documents.of_tenant(SYSTEM_TENANT)
        self._jobs = jobs
        self._clock = clock
        self._patience = patience
        self._last_read = ""

    async def acquire(self, limit: Limit, *, kind: str, token: str, job_id: str) -> bool:
        """True when there was one left."""
        holder = {"token": token, "kind": kind, "job_id": job_id, "at": self._clock()}
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

    async def list_stale(self, *, most: int = MOST_PERMITS) -> list[Holder]:
        """Holders that no running claim stands behind: their worker died, or its answer was lost.

        With more than ``most`` permits in use, each call looks at those behind the last ones.
        """
        in_use = {"_id": {"$gt": self._last_read}, "held": {"$gt": 0}}
        documents = await self._documents.find_many(in_use, sort=BY_NAME, limit=most)
        self._last_read = documents[-1]["_id"] if len(documents) == most else ""
        holders = [_read(document, holder) for document in documents for holder in document["holders"]]
        old = [holder for holder in holders if holder.since < self._clock() - SETTLING]
        jobs = await self._find_jobs(old)
        return [holder for holder in old if self._is_stale(holder, jobs.get((holder.kind, holder.job_id)))]

    def _is_stale(self, holder: Holder, job: Document | None) -> bool:
        now = self._clock()
        if job is not None and job["lease"] and job["lease"]["token"] == holder.token:
            return False
        if job is not None and job["started_at"] and job["started_at"] >= holder.since:
            # The claim was made, and is over.
            return bool(job["updated_at"] < now - SETTLING)
        return holder.since < now - self._patience

    async def _find_jobs(self, holders: Sequence[Holder]) -> Mapping[tuple[str, str], Document]:
        found: dict[tuple[str, str], Document] = {}
        fields = ("lease", "started_at", "updated_at")
        for kind, documents in self._jobs.items():
            if ids := {holder.job_id for holder in holders if holder.kind == kind}:
                jobs = await documents.find_many({"_id": {"$in": list(ids)}}, limit=len(ids), fields=fields)
                found |= {(kind, job["_id"]): job for job in jobs}
        return found


def _read(document: Document, holder: Mapping[str, Any]) -> Holder:
    kind = holder.get("kind", OLDEST_KIND)
    return Holder(document["_id"], kind, holder["token"], holder["job_id"], holder["at"])
