"""The verbs of the kernel, each one conditional write on one document."""

import asyncio
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from app.clock import Clock
from app.database.documents import Document, Documents, Sort
from app.errors import Conflict, LeaseLost, NotFound
from app.ids import new_token
from app.jobs import transitions
from app.jobs.documents import to_document, to_job
from app.jobs.grouped import GroupedWrites
from app.jobs.lanes import PARKED, Stage
from app.jobs.models import Job, NewJob, Status
from app.jobs.outcomes import Failed, Finished, Outcome
from app.jobs.transitions import Change, Evidence

# Two processes know the store's time within a few milliseconds: what one just made due must not be early for another.
CLOCK_TOLERANCE = timedelta(milliseconds=50)
PRIORITY_STEP = timedelta(minutes=1)
BY_RANK: Sort = (("rank", 1),)
WAITING = [Status.QUEUED.value, Status.AWAITING_APPROVAL.value]
RETRYABLE = [Status.FAILED.value, Status.CANCELLED.value]


class JobFinished(Conflict):
    """The job is in a final state, and no final state ever changes."""

    code = "ALREADY_FINISHED"
    title = "Already finished"


class JobNotFinished(Conflict):
    """Only a failed or cancelled job can begin a new series of attempts."""

    code = "NOT_RETRYABLE"
    title = "Not retryable"


class JobNotSuspended(Conflict):
    """Only a job that waits for somebody can be let go on."""

    code = "NOT_SUSPENDED"
    title = "Not waiting for anybody"


class JobStore:
    """The jobs of one collection."""

    def __init__(
        self,
        documents: Documents,
        *,
        clock: Clock,
        redispatch: timedelta,
        priority_step: timedelta = PRIORITY_STEP,
        history_limit: int | None = None,
        grouped: GroupedWrites | None = None,
    ) -> None:
        """With a ``history_limit`` only so many of the newest entries are kept: for jobs that are woken for days.

        ``grouped`` is for short jobs, many of which end at the same time.
        """
        self._documents = documents
        self._clock = clock
        self._redispatch = redispatch
        self._priority_step = priority_step
        self._history_limit = history_limit
        self._grouped = grouped

    async def enqueue(self, new: NewJob) -> Job:
        """Store an accepted job as `queued`. Raises `DuplicateDocument` when the id is taken."""
        document = to_document(new, now=self._clock(), redispatch=self._redispatch, priority_step=self._priority_step)
        await self._documents.insert(document)
        return to_job(document)

    async def get(self, job_id: str) -> Job:
        document = await self._documents.find_one({"_id": job_id})
        if document is None:
            raise NotFound(f"no job {job_id!r}", id=job_id)
        return to_job(document)

    async def claim(
        self,
        job_id: str,
        *,
        worker: str,
        token: str | None = None,
        may_run_alone: bool = True,
        stage: Stage | None = None,
    ) -> Job | None:
        """Take a due job for one attempt under a new lease; None when it is not there to be taken.

        A message that arrives twice, late or forged finds nothing to claim and is thereby harmless. ``may_run_alone``
        is False while the worker runs a job that must have no other suspect beside it. With a ``stage`` only a job is
        taken that is at it: who does the rest can do this too, and not the other way round.
        """
        return await self._claim(self._startable(job_id, may_run_alone=may_run_alone, stage=stage), worker, token)

    async def claim_first(self, lane: str, *, worker: str, may_run_alone: bool = True) -> Job | None:
        """Take the first startable job of a lane for one attempt; None when there is none."""
        first = self._first_of(lane, may_run_alone=may_run_alone)
        return await self._claim(first, worker, None, sort=BY_RANK)

    async def find_startable(
        self, job_id: str, *, may_run_alone: bool = True, stage: Stage | None = None
    ) -> Job | None:
        """The job as `claim` would find it, not yet taken."""
        document = await self._documents.find_one(self._startable(job_id, may_run_alone=may_run_alone, stage=stage))
        return None if document is None else to_job(document)

    async def find_first(self, lane: str, *, may_run_alone: bool = True) -> Job | None:
        """The job that `claim_first` would take, not yet taken."""
        first = self._first_of(lane, may_run_alone=may_run_alone)
        found = await self._documents.find_many(first, sort=BY_RANK, limit=1)
        return to_job(found[0]) if found else None

    async def save(self, job: Job, fields: Document) -> None:
        """Keep what the attempt has found so far, under its lease; raises `LeaseLost`."""
        await self._write_if_held(job, {"$set": {**fields, "updated_at": self._clock()}})

    async def settle(self, job: Job, outcome: Outcome, evidence: Evidence) -> None:
        """End the attempt: finish, requeue, suspend or cancel the job; raises `LeaseLost`."""
        await self._write_if_held(job, self._limited(transitions.settled(outcome, evidence, self._clock())))

    async def cancel(self, tenant_id: str, job_id: str) -> Status:
        """Cancel at once what nobody holds, else ask the holder to stop; answers the status after that."""
        while True:
            answer = await self._try_cancel(tenant_id, job_id)
            if answer is not None:
                return answer
            # It changed between two of our looks; whoever moved it made progress, so this ends.
            await asyncio.sleep(0)

    async def retry(
        self,
        tenant_id: str,
        job_id: str,
        *,
        reset: Mapping[str, Any],
        request: str,
        ended_at: datetime | None = None,
    ) -> Job:
        """Begin a new series of attempts for a failed or cancelled job, its history kept.

        ``reset`` are the feature's own fields that the last series wrote; ``request`` is noted in the history, and
        the same request never begins a second series. With ``ended_at`` only the series that ended then is followed.
        """
        documents, now = self._documents.of_tenant(tenant_id), self._clock()
        change = transitions.retried(now, lane=tenant_id, reset=reset, request=request, redispatch=self._redispatch)
        ended: Document = {"_id": job_id, "status": {"$in": RETRYABLE}, "history.label": {"$ne": request}}
        if ended_at is not None:
            ended["completed_at"] = ended_at
        changed = await documents.change_one(ended, self._limited(change))
        if changed is not None:
            return to_job(changed)
        found = await self._get_status(tenant_id, job_id)
        raise JobNotFinished(f"{job_id} is {found}; only failed or cancelled work can be retried", status=found)

    async def resume(
        self, tenant_id: str, job_id: str, *, where: Mapping[str, Any], fields: Mapping[str, Any], request: str
    ) -> Job:
        """Queue a suspended job again with these fields set; raises `JobNotSuspended` when it is not as ``where`` says.

        ``request`` is noted in the history.
        """
        change = transitions.resumed(
            self._clock(), lane=tenant_id, fields=fields, request=request, redispatch=self._redispatch
        )
        suspended = {**where, "_id": job_id, "status": Status.AWAITING_APPROVAL.value}
        return await self._change_waiting(tenant_id, suspended, change)

    async def claim_suspended(self, job_id: str, *, worker: str, token: str | None = None) -> Job | None:
        """Take a suspended job for one attempt under a new lease, without a message; None when it is not suspended.

        A job that is to run apart from others is not taken: it goes on by `resume`, and a message.
        """
        suspended = {"_id": job_id, "status": Status.AWAITING_APPROVAL.value, "alone": {"$ne": True}}
        change = self._limited(transitions.woken(token or new_token(), worker, self._clock()))
        document = await self._documents.change_one(suspended, change)
        return None if document is None else to_job(document)

    async def conclude(
        self,
        tenant_id: str,
        job_id: str,
        *,
        where: Mapping[str, Any],
        outcome: Finished | Failed,
        fields: Mapping[str, Any],
    ) -> Job:
        """End a job that waits, queued or suspended, without an attempt, and set these fields with it.

        Raises `JobNotSuspended` when it is not as ``where`` says, or does not wait.
        """
        change = transitions.settled(outcome, Evidence(fields=dict(fields)), self._clock())
        return await self._change_waiting(tenant_id, {**where, "_id": job_id, "status": {"$in": WAITING}}, change)

    async def _change_waiting(self, tenant_id: str, waiting: Document, change: Change) -> Job:
        changed = await self._documents.of_tenant(tenant_id).change_one(waiting, self._limited(change))
        if changed is None:
            job_id: str = waiting["_id"]
            found = await self._get_status(tenant_id, job_id)
            raise JobNotSuspended(f"{job_id} does not wait any more; it is {found}", status=found)
        return to_job(changed)

    def _startable(self, job_id: str, *, may_run_alone: bool, stage: Stage | None) -> Document:
        # A job that is parked waits for a permit, which no message can replace.
        not_parked: Document = {"_id": job_id, "lane": {"$not": {"$gte": PARKED}}}
        if stage is not None:
            not_parked["stage"] = stage.value
        return {**not_parked, **self._due(may_run_alone=may_run_alone)}

    def _first_of(self, lane: str, *, may_run_alone: bool) -> Document:
        return {"lane": lane, **self._due(may_run_alone=may_run_alone)}

    def _due(self, *, may_run_alone: bool) -> Document:
        due: Document = {
            "status": Status.QUEUED.value,
            "not_before": {"$lte": self._clock() + CLOCK_TOLERANCE},
        }
        return due if may_run_alone else due | {"alone": {"$ne": True}}

    async def _claim(self, where: Document, worker: str, token: str | None, *, sort: Sort | None = None) -> Job | None:
        change = self._limited(transitions.claimed(token or new_token(), worker, self._clock()))
        document = await self._documents.change_one(where, change, sort=sort)
        return None if document is None else to_job(document)

    async def _try_cancel(self, tenant_id: str, job_id: str) -> Status | None:
        documents, now = self._documents.of_tenant(tenant_id), self._clock()
        cancelled = self._limited(transitions.cancelled(now))
        if await documents.update_one({"_id": job_id, "status": {"$in": WAITING}}, cancelled):
            return Status.CANCELLED
        if await documents.update_one({"_id": job_id, "status": Status.PROCESSING.value}, _asked_to_stop(now)):
            return Status.PROCESSING
        found = await self._get_status(tenant_id, job_id)
        if found.is_final:
            raise JobFinished(f"{job_id} is already {found}", status=found)
        return None

    async def _get_status(self, tenant_id: str, job_id: str) -> Status:
        document = await self._documents.of_tenant(tenant_id).find_one({"_id": job_id}, fields=["status"])
        if document is None:
            raise NotFound(f"no job {job_id!r}", id=job_id)
        return Status(document["status"])

    def _limited(self, change: Change) -> Change:
        return transitions.with_newest_history(change, self._history_limit)

    async def _write_if_held(self, job: Job, change: Change) -> None:
        # The token, not the id, proves ownership: a worker that stalled past its lease must not
        # overwrite the attempt that replaced it.
        held = {"_id": job.id, "status": Status.PROCESSING.value, "lease.token": job.lease and job.lease.token}
        if job.lease is None or not await self._update(held, change):
            raise LeaseLost(f"{job.id} is no longer held by this attempt", job_id=job.id)

    async def _update(self, where: Document, change: Change) -> bool:
        if self._grouped is not None:
            return await self._grouped.update(where, change)
        return await self._documents.update_one(where, change)


def _asked_to_stop(now: datetime) -> Change:
    return {"$set": {"updated_at": now, "cancel_requested_at": now}}
