"""What the sweep reads and writes to heal what crashes left behind; every write is guarded, so sweeps may overlap."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from app.clock import Clock
from app.database.documents import Document, Documents, Sort
from app.database.indexes import Index
from app.errors import DeadlineExceeded
from app.jobs import transitions
from app.jobs.documents import to_job
from app.jobs.lanes import PARKED
from app.jobs.models import OPEN, Job, JobError, Reason, Status
from app.jobs.outcomes import Failed, Outcome
from app.jobs.store import CLOCK_TOLERANCE, WAITING
from app.jobs.transitions import Evidence

BATCH = 500
# Timers tend to end together.
DUE_BATCH = 2000
LONG_AGO = datetime(1970, 1, 1, tzinfo=UTC)
LONGEST_REDISPATCH = timedelta(minutes=1)
BY_DISPATCH: Sort = (("next_dispatch_at", 1),)
OVERDUE = Failed(
    JobError(type=DeadlineExceeded.code, message="the deadline passed before a worker could start the job"),
    reason=Reason.DEADLINE_EXCEEDED,
)


def indexes(collection: str) -> tuple[Index, ...]:
    """What the sweep's queries need on every collection of jobs."""
    return (
        Index(collection, (("status", 1), ("next_dispatch_at", 1))),
        Index(collection, (("status", 1), ("dispatches", 1), ("next_dispatch_at", 1))),
        Index(collection, (("status", 1), ("deadline_at", 1))),
        Index(collection, (("status", 1), ("not_before", 1))),
        Index(collection, (("status", 1), ("cancel_requested_at", 1))),
        Index(collection, (("lease.worker", 1), ("status", 1))),
        Index(collection, (("lane", 1), ("rank", 1))),
        Index(collection, (("alone", 1), ("status", 1), ("rank", 1)), {"partialFilterExpression": {"alone": True}}),
        Index(collection, (("tenant_id", 1), ("status", 1), ("not_before", 1))),
    )


class Recovery:
    """The sweep's view of one collection of jobs."""

    def __init__(
        self, documents: Documents, *, clock: Clock, redispatch: timedelta, history_limit: int | None = None
    ) -> None:
        """``history_limit`` is the store's."""
        self._documents = documents
        self._clock = clock
        self._redispatch = redispatch
        self._history_limit = history_limit

    async def has_open(self) -> bool:
        """Whether there is any job that has not ended."""
        open_ = {"status": {"$in": [status.value for status in OPEN]}}
        return bool(await self._documents.find_many(open_, limit=1, fields=["_id"]))

    async def list_due(self, *, within: timedelta = timedelta(0), limit: int = DUE_BATCH) -> list[Job]:
        """Queued jobs whose time comes ``within`` and for which nobody rang yet, the longest waiting first."""
        soon = {"$lte": self._clock() + within}
        due = {"status": Status.QUEUED.value, "dispatches": 0, "next_dispatch_at": soon}
        return await self._list(due, sort=BY_DISPATCH, limit=limit)

    async def list_silent(self, *, limit: int = BATCH) -> list[Job]:
        """Queued jobs that were rung and still wait, past the pause that this is worth."""
        silent = {
            "status": Status.QUEUED.value,
            "next_dispatch_at": {"$lte": self._clock()},
            "dispatches": {"$gt": 0},
        }
        return await self._list(silent, sort=BY_DISPATCH, limit=limit)

    async def list_overdue(self) -> list[Job]:
        """Waiting jobs whose deadline has passed."""
        return await self._list({"status": {"$in": WAITING}, "deadline_at": {"$lte": self._clock()}})

    async def list_unheeded(self) -> list[Job]:
        """Jobs that were asked to stop just as their attempt ended without a final state."""
        asked = {"status": {"$in": WAITING}, "cancel_requested_at": {"$gt": LONG_AGO}}
        return await self._list(asked)

    async def list_held_by(
        self, workers: Sequence[str], *, claimed_before: datetime | None = None, limit: int = BATCH
    ) -> list[Job]:
        held: Document = {"status": Status.PROCESSING.value, "lease.worker": {"$in": list(workers)}}
        earlier = {"started_at": {"$lt": claimed_before}} if claimed_before else {}
        return await self._list(held | earlier, limit=limit)

    async def list_orphans(self, known_workers: Sequence[str], *, started_before: datetime) -> list[Job]:
        """Jobs held by a worker that has no document any more."""
        return await self._list(
            {
                "status": Status.PROCESSING.value,
                "lease.worker": {"$nin": list(known_workers)},
                "started_at": {"$lt": started_before},
            }
        )

    async def list_cancel_requests(self, worker: str) -> list[str]:
        """Ids of the worker's jobs that somebody asked to stop."""
        documents = await self._documents.find_many(
            {
                "lease.worker": worker,
                "status": Status.PROCESSING.value,
                "cancel_requested_at": {"$ne": None},
            },
            limit=BATCH,
            fields=["_id"],
        )
        return [document["_id"] for document in documents]

    async def count_waiting(self, *, limit: int, tenant_id: str | None = None) -> int:
        """Due jobs that nobody works on, of one tenant or of all."""
        due: Document = {"status": Status.QUEUED.value, "not_before": {"$lte": self._clock()}}
        documents = self._documents if tenant_id is None else self._documents.of_tenant(tenant_id)
        return await documents.count(due, limit=limit)

    async def count_startable(self, *, limit: int) -> int:
        """Jobs that a message should be on its way for: what waits for a permit is not among them."""
        return await self._documents.count({"lane": {"$gt": "", "$lt": PARKED}}, limit=limit)

    async def mark_rung(self, job_id: str, *, lane: str, dispatches: int) -> bool:
        """Note the ring before it is made, so that two sweeps do not both ring; the pause doubles each time."""
        now = self._clock()
        pause = min(self._redispatch * 2 ** min(dispatches, 10), LONGEST_REDISPATCH)
        still_silent: Document = {"_id": job_id, "status": Status.QUEUED.value, "dispatches": dispatches}
        # Tried meanwhile, it may wait for another time, at which it would count as rung.
        due = still_silent | {"not_before": {"$lte": now + CLOCK_TOLERANCE}}
        return await self._documents.update_one(due, transitions.rung(now, now + pause, lane=lane))

    async def release(self, job: Job, outcome: Outcome) -> bool:
        """End an attempt whose worker is gone; False when somebody else was faster."""
        token = job.lease.token if job.lease else None
        held = {"_id": job.id, "status": Status.PROCESSING.value, "lease.token": token}
        return await self._end(held, outcome)

    async def cancel_unheeded(self, job: Job) -> bool:
        asked = {"_id": job.id, "status": {"$in": WAITING}, "cancel_requested_at": job.cancel_requested_at}
        change = transitions.with_newest_history(transitions.cancelled(self._clock()), self._history_limit)
        return await self._documents.update_one(asked, change)

    async def fail_overdue(self, job: Job) -> bool:
        # The deadline is part of the guard: a retry meanwhile began a series that has none.
        waiting = {"_id": job.id, "status": {"$in": WAITING}, "deadline_at": job.deadline_at}
        return await self._end(waiting, OVERDUE)

    async def _end(self, where: Document, outcome: Outcome) -> bool:
        change = transitions.settled(outcome, Evidence(), self._clock())
        return await self._documents.update_one(where, transitions.with_newest_history(change, self._history_limit))

    async def _list(self, where: Document, *, sort: Sort | None = None, limit: int = BATCH) -> list[Job]:
        return [to_job(found) for found in await self._documents.find_many(where, limit=limit, sort=sort)]
