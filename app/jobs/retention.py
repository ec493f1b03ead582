"""Deletes finished jobs that are old enough, with all that belongs to them, so that the store need not grow for ever.

A job is first taken out of its tenant by one conditional write: from then on nobody can read it or begin a new series
of attempts. Then what belongs to it is deleted, and the job last. After a crash in between the next pass goes on.

A job under legal hold is not taken out, which that write itself makes sure of; one that was can be held no more.
"""

from collections import defaultdict
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta

from app.clock import Clock
from app.database.documents import Document, Documents
from app.database.indexes import Index
from app.errors import Conflict
from app.jobs.models import LEGAL_HOLD, Status

# No tenant's name begins with an underscore.
EXPIRED_TENANT = "_expired"
BATCH = 200
# More in one pass would keep the next sweep waiting; fewer would be less than one stack can finish meanwhile.
MOST_BATCHES = 5
PAUSE = timedelta(seconds=30)


class UnderLegalHold(Conflict):
    """What somebody wants to delete must be kept."""

    code = "UNDER_LEGAL_HOLD"
    title = "Under legal hold"


def indexes(collection: str) -> tuple[Index, ...]:
    """By status and end; the invariants look there for jobs that ended and do not say when."""
    return (Index(collection, (("status", 1), ("completed_at", 1))),)


@dataclass(frozen=True, slots=True)
class ExpiredJob:
    """A job that is being deleted, and the tenant it was of."""

    id: str
    tenant_id: str


# Deletes what belongs to these jobs. It may be called again for jobs whose belongings are gone already.
DeleteBelongings = Callable[[Sequence[ExpiredJob]], Awaitable[object]]


def by_task_id(documents: Documents) -> DeleteBelongings:
    """Deletes documents that name their job as ``task_id``, by an index on tenant and that."""

    async def delete(jobs: Sequence[ExpiredJob]) -> None:
        for tenant_id, ids in _by_tenant(jobs).items():
            await documents.of_tenant(tenant_id).delete_many({"task_id": {"$in": ids}})

    return delete


@dataclass(frozen=True, slots=True)
class Rule:
    """Jobs that ended in one of these statuses are kept for ``keep`` after their end.

    Less than the life of an Idempotency-Key would let a repeated request have the work done again.
    """

    statuses: frozenset[Status]
    keep: timedelta


class Retention:
    """Deletes from one collection of jobs."""

    def __init__(
        self,
        jobs: Documents,
        belongings: Sequence[DeleteBelongings],
        rules: Sequence[Rule],
        *,
        clock: Clock,
        batch_size: int = BATCH,
    ) -> None:
        self._jobs = jobs
        self._expired = jobs.of_tenant(EXPIRED_TENANT)
        self._belongings = belongings
        self._rules = rules
        self._clock = clock
        self._batch_size = batch_size
        self._rests_until = clock()

    async def delete_batches(self) -> int:
        """Delete batch after batch, up to `MOST_BATCHES`; answers how many jobs."""
        deleted = 0
        for _ in range(MOST_BATCHES):
            batch = await self.delete_old()
            deleted += batch
            if batch < self._batch_size:
                break
        return deleted

    async def delete_old(self) -> int:
        """Delete up to a batch; answers how many. With less than that to do it rests for a while."""
        if not self._rules or self._clock() < self._rests_until:
            return 0
        expired = [await self._expire(rule) for rule in self._rules]
        deleted = await self._delete_expired()
        if max(*expired, deleted) < self._batch_size:
            self._rests_until = self._clock() + PAUSE
        return deleted

    async def _expire(self, rule: Rule) -> int:
        old: Document = {
            "status": {"$in": sorted(status.value for status in rule.statuses)},
            "completed_at": {"$lt": self._clock() - rule.keep},
            "uncounted": False,
            LEGAL_HOLD: None,
        }
        of_a_tenant = old | {"tenant_id": {"$ne": EXPIRED_TENANT}}
        found = await self._jobs.find_many(of_a_tenant, limit=self._batch_size, fields=("tenant_id",))
        expired = 0
        for tenant_id, ids in _by_tenant([ExpiredJob(job["_id"], job["tenant_id"]) for job in found]).items():
            # Only if still old and not held: a retry or a hold that was faster keeps its job.
            change = {"$set": {"tenant_id": EXPIRED_TENANT, "expired_tenant_id": tenant_id}}
            expired += await self._jobs.of_tenant(tenant_id).update_many(old | {"_id": {"$in": ids}}, change)
        return expired

    async def _delete_expired(self) -> int:
        found = await self._expired.find_many({}, limit=self._batch_size, fields=("expired_tenant_id",))
        if not found:
            return 0
        jobs = [_expired_job(document) for document in found]
        for delete_belongings in self._belongings:
            await delete_belongings(jobs)
        return await self._expired.delete_many({"_id": {"$in": [job.id for job in jobs]}})


def _expired_job(document: Document) -> ExpiredJob:
    return ExpiredJob(document["_id"], document["expired_tenant_id"])


def _by_tenant(jobs: Sequence[ExpiredJob]) -> dict[str, list[str]]:
    ids: dict[str, list[str]] = defaultdict(list)
    for job in jobs:
        ids[job.tenant_id].append(job.id)
    return ids
