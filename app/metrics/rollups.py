"""Exact counters per tenant and day, kept up to date by whoever holds the sweep's lock.

Batches form one sequence, written in a ledger: a batch is *sealed* there (which jobs, up to which entry of their
histories, and what they add), then added to the roll-ups and ticked off on the jobs, then *closed*; only then can the
next be sealed. Whoever finds one open, after a crash or beside a live counter, repeats its writes, and each is refused
where it is done: a roll-up knows the number of the last batch in it, a job how far it is counted.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from app.database.documents import Document, Documents
from app.database.errors import DuplicateDocument
from app.database.indexes import Index
from app.jobs.models import DRY_RUN
from app.jobs.workers import SYSTEM_TENANT
from app.metrics.tally import Key, Tally, tally, tally_charges
from app.metrics.usage import OF_STEPS

COLLECTION = "rollups"
COUNTED = "counted_batches"
INDEXES = (Index(COLLECTION, (("tenant_id", 1), ("period", 1))),)
# With the roll-ups, so that nobody can lose or restore the one without the other.
LEDGER = f"{SYSTEM_TENANT}:ledger"
BATCH = 500
BATCHES_PER_PASS = 4
FIELDS = ("tenant_id", "created_at", "history", "counted_seq", DRY_RUN)


@dataclass(frozen=True, slots=True)
class Counting:
    """What of a collection is counted: jobs with this mark, by a fold, into roll-ups whose ids end with ``of``."""

    mark: str
    fold: Callable[[Sequence[Mapping[str, Any]]], Mapping[Key, Tally]]
    of: str = ""


# A job that ended, or was begun again.
OF_TASKS = Counting("uncounted", tally)
# A step whose last attempt consumed something: most cost nothing, and are not looked at.
UNCHARGED = "uncharged"
CHARGES_OF_STEPS = Counting(UNCHARGED, tally_charges, OF_STEPS)


def job_indexes(collection: str, counting: Counting = OF_TASKS) -> tuple[Index, ...]:
    # Partial, so that the index holds what is to be done and not what was ever done.
    return (Index(collection, ((counting.mark, 1),), {"partialFilterExpression": {counting.mark: True}}),)


class Rollups:
    """Counts the jobs of one collection.

    Each closed batch leaves the ids of its jobs in ``counted``, for who has to look at finished jobs afterwards; None
    where nobody has.
    """

    def __init__(
        self,
        jobs: Documents,
        rollups: Documents,
        counted: Documents | None,
        counting: Counting = OF_TASKS,
        *,
        batch_size: int = BATCH,
    ) -> None:
        self._jobs = jobs
        self._rollups = rollups
        self._ledger = rollups.of_tenant(SYSTEM_TENANT)
        self._counted = counted.of_tenant(SYSTEM_TENANT) if counted else None
        self._counting = counting
        self._ledger_id = f"{LEDGER}{counting.of}"
        self._batch_size = batch_size

    async def count_finished(self) -> int:
        """Count what ended since the last pass, up to a bound; answers how many jobs that were."""
        ledger = await self._ledger.find_one({"_id": self._ledger_id}) or {"seq": 0, "batch": None}
        last: int = ledger["seq"]
        counted = await self._finish(last, ledger["batch"]) if ledger["batch"] else 0
        for seq in range(last + 1, last + 1 + BATCHES_PER_PASS):
            batch = await self._seal(seq)
            if batch is None:
                break
            size = await self._finish(seq, batch)
            counted += size
            if size < self._batch_size:
                break
        return counted

    async def _seal(self, seq: int) -> Document | None:
        """None when there is nothing to count, or another process was first."""
        # Read while no batch is open, or the write below is refused: nobody moves `counted_seq` in between.
        jobs = await self._jobs.find_many({self._counting.mark: True}, limit=self._batch_size, fields=FIELDS)
        if not jobs:
            return None
        batch = _batch_of(jobs, self._counting.fold(jobs))
        closed = {"_id": self._ledger_id, "seq": seq - 1, "batch": None}
        try:
            await self._ledger.update_one(closed, {"$set": {"seq": seq, "batch": batch}}, upsert=True)
        except DuplicateDocument:
            return None
        return batch

    async def _finish(self, seq: int, batch: Document) -> int:
        for sums in batch["tallies"]:
            await self._add(seq, sums)
        for part in batch["jobs"]:
            await self._tick_off(part["ids"], part["upto"])
        ids = [job_id for part in batch["jobs"] for job_id in part["ids"]]
        if self._counted is not None:
            await self._counted.insert_missing([{"_id": f"{seq:012d}", "jobs": ids}])
        await self._ledger.update_one({"_id": self._ledger_id, "seq": seq}, {"$set": {"batch": None}})
        return len(ids)

    async def _add(self, seq: int, sums: Document) -> None:
        tenant_id, period = sums["tenant_id"], sums["period"]
        # Batches are added strictly one after the other, so the last number stands for all before it.
        missing = {"_id": f"{tenant_id}:{period}{self._counting.of}", "last_batch": {"$not": {"$gte": seq}}}
        change: dict[str, Any] = {
            "$inc": dict(sums["increments"]),
            "$set": {"last_batch": seq},
            "$setOnInsert": {"period": period},
            "$min": {"first_at": sums["first_at"]},
            "$max": {"last_at": sums["last_at"]},
        }
        try:
            await self._rollups.of_tenant(tenant_id).update_one(missing, change, upsert=True)
        except DuplicateDocument:
            return  # The roll-up has this batch: the upsert found it taken, not absent.

    async def _tick_off(self, ids: list[str], upto: int) -> None:
        waiting = {"_id": {"$in": ids}, "counted_seq": {"$lte": upto}}
        unchanged = {**waiting, "history": {"$size": upto}}
        done = {"counted_seq": upto}
        if await self._jobs.update_many(unchanged, {"$set": {**done, self._counting.mark: False}}) < len(ids):
            # What changed meanwhile stays uncounted, from there on.
            await self._jobs.update_many(waiting, {"$set": done})


def _batch_of(jobs: list[Document], tallies: Mapping[Key, Tally]) -> Document:
    """The batch as the ledger keeps it. Field paths are values there: a stored key may not hold a dot."""
    lengths: dict[int, list[str]] = {}
    for job in jobs:
        lengths.setdefault(len(job["history"]), []).append(job["_id"])
    return {
        "jobs": [{"upto": length, "ids": ids} for length, ids in lengths.items()],
        "tallies": [
            {
                "tenant_id": tenant_id,
                "period": period,
                "increments": [[field, by] for field, by in sums.increments.items()],
                "first_at": sums.first_at,
                "last_at": sums.last_at,
            }
            for (tenant_id, period), sums in tallies.items()
        ],
    }
