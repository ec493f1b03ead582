"""Exact counters per tenant and day, kept up to date by whoever holds the sweep's lock.

A batch is first written down on its jobs (`count_batch`, `count_upto`), then added to the roll-up documents under
its id, then ticked off. A crash at any point leaves a batch that the next pass adds again, and a roll-up document
that has the batch's id already refuses it: nothing is counted twice, nothing is left out.
"""

from collections.abc import Awaitable, Callable
from typing import Any

from app.database.documents import Document, Documents
from app.database.errors import DuplicateDocument
from app.database.indexes import Index
from app.ids import new_token
from app.metrics.tally import Key, Tally, tally

COLLECTION = "rollups"
INDEXES = (Index(COLLECTION, (("tenant_id", 1), ("period", 1))),)
BATCH = 500
REMEMBERED_BATCHES = 50
FIELDS = ("tenant_id", "selected_agent", "created_at", "history", "counted_seq", "count_batch", "count_upto")


def job_indexes(collection: str) -> tuple[Index, ...]:
    # Partial, so that the index holds what is to be done and not what was ever done.
    return (Index(collection, (("uncounted", 1),), {"partialFilterExpression": {"uncounted": True}}),)


class Rollups:
    """Counts the jobs of one collection."""

    def __init__(
        self,
        jobs: Documents,
        rollups: Documents,
        *,
        also: Callable[[list[Document]], Awaitable[None]],
    ) -> None:
        self._jobs = jobs
        self._rollups = rollups
        self._also = also

    async def count_finished(self) -> int:
        """Count what ended since the last pass; answers how many jobs that were."""
        counted = 0
        while batch := await self._next_batch():
            await self._count(batch)
            counted += len(batch)
        return counted

    async def _next_batch(self) -> list[Document]:
        uncounted = await self._jobs.find_many({"uncounted": True}, limit=BATCH, fields=FIELDS)
        interrupted = [job for job in uncounted if job["count_batch"] is not None]
        if interrupted:
            first = interrupted[0]["count_batch"]
            return [job for job in interrupted if job["count_batch"] == first]
        return await self._write_down(uncounted)

    async def _write_down(self, jobs: list[Document]) -> list[Document]:
        batch = new_token()
        for length, ids in _by_length(jobs).items():
            untaken = {"_id": {"$in": ids}, "uncounted": True, "count_batch": None}
            await self._jobs.update_many(untaken, {"$set": {"count_batch": batch, "count_upto": length}})
        # Read again: another process may have taken some of them first.
        return await self._jobs.find_many({"uncounted": True, "count_batch": batch}, limit=BATCH, fields=FIELDS)

    async def _count(self, jobs: list[Document]) -> None:
        batch = jobs[0]["count_batch"]
        for key, sums in tally(jobs).items():
            await self._add(key, sums, batch)
        await self._also(jobs)
        await self._tick_off(batch, {job["count_upto"] for job in jobs})

    async def _add(self, key: Key, sums: Tally, batch: str) -> None:
        tenant_id, period = key
        change: dict[str, Any] = {
            "$inc": dict(sums.increments),
            "$push": {"applied": {"$each": [batch], "$slice": -REMEMBERED_BATCHES}},
            "$setOnInsert": {"period": period},
            "$min": {"first_at": sums.first_at},
            "$max": {"last_at": sums.last_at},
        }
        missing_batch = {"_id": f"{tenant_id}:{period}", "applied": {"$ne": batch}}
        try:
            await self._rollups.of_tenant(tenant_id).update_one(missing_batch, change, upsert=True)
        except DuplicateDocument:
            return  # This batch is in it: an earlier pass got as far as here.

    async def _tick_off(self, batch: str, lengths: set[int]) -> None:
        for length in lengths:
            done = {"counted_seq": length, "count_batch": None}
            written = {"count_batch": batch, "count_upto": length}
            unchanged = {**written, "history": {"$size": length}}
            await self._jobs.update_many(unchanged, {"$set": {**done, "uncounted": False}})
            # What changed meanwhile stays uncounted, from there on.
            await self._jobs.update_many(written, {"$set": done})


def _by_length(jobs: list[Document]) -> dict[int, list[str]]:
    lengths: dict[int, list[str]] = {}
    for job in jobs:
        lengths.setdefault(len(job["history"]), []).append(job["_id"])
    return lengths
