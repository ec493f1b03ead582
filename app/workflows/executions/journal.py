"""The step instances of executions in the store: handed out, heard of, and read again after a crash."""

from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from app.artifacts.evidence import DIGESTS
from app.clock import Clock
from app.database.documents import Document, Documents, Sort
from app.database.indexes import Index
from app.ids import new_token
from app.jobs import retention, transitions
from app.jobs.documents import to_document, to_job
from app.jobs.grouped import GroupedWrites
from app.jobs.models import FINAL, Job, JobError, NewJob, Status
from app.jobs.outcomes import Cancelled, Failed, Finished, Outcome
from app.jobs.store import PRIORITY_STEP
from app.jobs.transitions import Evidence
from app.metrics.rollups import CHARGES_OF_STEPS, job_indexes
from app.workflows.executions.models import STEPS, step_id
from app.workflows.executions.rendering import Rendered
from app.workflows.executions.values import ValueStore, values_place_of
from app.workflows.planner import End
from app.workflows.run import ENDING
from app.workflows.view import Ended, Fault

PAGE = 1000
BY_SEQ: Sort = (("seq", 1), ("_id", 1))
# What a driver has to know of a step instance.
FIELDS = (
    "path", "kind", "status", "series", "seq", "ended_seq", "end", "output", "fault", "error", "attempt", "heard",
    "created_at", "waits_for", "attempts.cost", "watched", "tenant_id", "execution_id", "artifacts",
)  # fmt: skip
INDEXES = (
    Index(STEPS, (("execution_id", 1), ("seq", 1))),
    Index(STEPS, (("execution_id", 1), ("ended_seq", 1), ("seq", 1))),
    Index(STEPS, (("execution_id", 1), ("heard", 1)), {"partialFilterExpression": {"heard": False}}),
    Index(STEPS, (("heard", 1), ("updated_at", 1)), {"partialFilterExpression": {"heard": False}}),
    Index(STEPS, (("watched", 1), ("updated_at", 1)), {"partialFilterExpression": {"watched": True}}),
    Index(STEPS, ((DIGESTS, 1),), {"sparse": True}),
    *job_indexes(STEPS, CHARGES_OF_STEPS),
    *retention.indexes(STEPS),
)
_FINAL = [status.value for status in FINAL]
# When nobody need look at what waits for somebody, who ends it then.
NEVER = datetime(9999, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Instance:
    """A step instance that is to be stored; ``seq`` is when it began, in its execution's order of events."""

    path: str
    kind: str
    seq: int
    max_attempts: int = 1
    deadline_at: datetime | None = None
    agent: str | None = None
    cases: Sequence[str | None] = ()
    reused_from: str | None = None


class Journal:
    def __init__(
        self, documents: Documents, grouped: GroupedWrites, values: ValueStore, *, clock: Clock, redispatch: timedelta
    ) -> None:
        self._documents = documents
        self._grouped = grouped
        self._values = values
        self._clock = clock
        self._redispatch = redispatch

    async def hand_out(
        self, execution: Job, instance: Instance, rendered: Rendered, *, worker: str | None
    ) -> Job | None:
        """Store an instance that may start now; claimed by ``worker`` when that begins with it at once.

        None when it was handed out before.
        """
        fields = {
            **self._fields(execution, instance),
            "input": await self._values.put(values_place_of(execution.tenant_id, execution.id), rendered.content),
            "waits_for": rendered.waits_for,
        }
        waits = rendered.waits_for is not None
        document = self._document(execution, instance, fields, (rendered.due_at or NEVER) if waits else None)
        if worker is not None and not waits:
            _claim(document, worker, self._clock())
        return to_job(document) if await self._grouped.insert(document) else None

    async def note(self, execution: Job, instance: Instance, ended: Ended, ended_seq: int) -> None:
        """Store an instance that is over already: it never ran, or its driver carried it out."""
        fields = {
            **self._fields(execution, instance),
            **await self.end_fields(values_place_of(execution.tenant_id, execution.id), ended),
            "heard": True,
            "ended_seq": ended_seq,
        }
        document = self._document(execution, instance, fields, None)
        change = transitions.settled(_outcome_of(ended), Evidence(), self._clock())
        _apply(document, change)
        await self._grouped.insert(document)

    async def end_fields(self, place: str, ended: Ended) -> dict[str, Any]:
        output = None if ended.output is None else await self._values.put(place, ended.output)
        return {
            "end": ended.end.value,
            "output": output,
            "fault": ended.error.as_json() if ended.error else None,
        }

    async def read_all(self, execution_id: str) -> AsyncIterator[Document]:
        """In the order in which they began."""
        where: dict[str, Any] = {"execution_id": execution_id}
        while True:
            page = await self._documents.find_many(where, limit=PAGE, sort=BY_SEQ, fields=FIELDS)
            for document in page:
                yield document
            if len(page) < PAGE:
                return
            # Two drivers, of which one was about to be replaced, may have given one number twice.
            last = page[-1]
            behind = [{"seq": {"$gt": last["seq"]}}, {"seq": last["seq"], "_id": {"$gt": last["_id"]}}]
            where = {"execution_id": execution_id, "seq": {"$gte": last["seq"]}, "$or": behind}

    async def unheard(self, execution_id: str, *, watched: Collection[str] = ()) -> list[Document]:
        """Instances that ended elsewhere, and whose end the planner was not told yet.

        Of those ``watched``, by id, also what says that it was heard.
        """
        ended = {"execution_id": execution_id, "status": {"$in": _FINAL}}
        found = await self._documents.find_many({**ended, "heard": False}, limit=PAGE, sort=BY_SEQ, fields=FIELDS)
        if watched:
            known = {"$in": list(watched)[:PAGE]}
            found += await self._documents.find_many({**ended, "_id": known, "heard": True}, limit=PAGE, fields=FIELDS)
        return found

    async def watch(self, steps: Sequence[str]) -> None:
        """Look for the ends of these whatever is written with them.

        They run beside a driver that is no more, which may have said with an end that it has heard of it.
        """
        open_ = [({"_id": step, "status": {"$nin": _FINAL}}, {"$set": {"watched": True}}) for step in steps]
        for start in range(0, len(open_), PAGE):
            await self._documents.update_each(open_[start : start + PAGE])

    async def find_ended(self, step: str) -> Document | None:
        """None while it has not ended."""
        return await self._documents.find_one({"_id": step, "status": {"$in": _FINAL}}, fields=FIELDS)

    async def hear(self, ended_seqs: Mapping[str, int]) -> None:
        """By id of the step, the place of its end in the order of events."""
        changes = [
            (
                {"_id": step, "status": {"$in": _FINAL}},
                {"$set": {"heard": True, "watched": False, "ended_seq": seq}},
            )
            for step, seq in ended_seqs.items()
        ]
        for start in range(0, len(changes), PAGE):
            await self._documents.update_each(changes[start : start + PAGE])

    async def correct(self, step: str, ended: Ended) -> None:
        """What comes after an attempt failed, which itself went well: the step counts as failed."""
        fault = ended.error.as_json() if ended.error else None
        await self._grouped.update({"_id": step}, {"$set": {"end": ended.end.value, "fault": fault, "output": None}})

    async def keep_artifacts(self, execution: Job, path: str, artifacts: Mapping[str, Any]) -> None:
        step = step_id(execution.id, execution.document["series"], path)
        digests = {"$each": [one["sha256"] for one in artifacts.values()]}
        await self._grouped.update(
            {"_id": step}, {"$set": {"artifacts": dict(artifacts)}, "$addToSet": {DIGESTS: digests}}
        )

    async def list_abandoned(self, *, ended_before: datetime) -> list[Document]:
        """Of instances that ended some time ago, and that no driver heard of."""
        ended = {"status": {"$in": _FINAL}, "updated_at": {"$lt": ended_before}}
        fields = ("execution_id", "tenant_id")
        unheard = await self._documents.find_many({**ended, "heard": False}, limit=PAGE, fields=fields)
        return unheard + await self._documents.find_many({**ended, "watched": True}, limit=PAGE, fields=fields)

    async def forget(self, execution_id: str) -> None:
        """What ends after its execution is of no interest to a planner."""
        ended = {"execution_id": execution_id, "status": {"$in": _FINAL}}
        for mark in ({"heard": False}, {"watched": True}):
            await self._documents.update_many({**ended, **mark}, {"$set": {"heard": True, "watched": False}})

    async def ended_of(self, document: Document) -> Ended:
        """How an instance ended, with its output whole."""
        place = values_place_of(document["tenant_id"], document["execution_id"])
        output = await self._values.get(place, document.get("output"))
        error = document.get("fault") or document.get("error")
        fault = Fault(error["type"], error["message"], error.get("path")) if error else None
        return Ended(end_of(document), output, fault, document["attempt"])

    def _fields(self, execution: Job, instance: Instance) -> dict[str, Any]:
        own = execution.document
        return {
            "execution_id": execution.id,
            "workflow": own["workflow"],
            "series": own["series"],
            "path": instance.path,
            "name": instance.path.rpartition(".")[2],
            "kind": instance.kind,
            "seq": instance.seq,
            "ended_seq": None,
            "input": None,
            "output": None,
            "end": None,
            "fault": None,
            "agent": instance.agent,
            "cases": list(instance.cases),
            "attempts": [],
            "waits_for": None,
            "votes": [],
            "heard": False,
            "reused_from": instance.reused_from,
            "artifacts": {},
            "session_id": execution.id,
            "request_id": own["request_id"],
            "created_by": own["created_by"],
        }

    def _document(
        self, execution: Job, instance: Instance, fields: Mapping[str, Any], due_at: datetime | None
    ) -> Document:
        new = NewJob(
            id=step_id(execution.id, execution.document["series"], instance.path),
            tenant_id=execution.tenant_id,
            fields=fields,
            max_attempts=instance.max_attempts,
            deadline_at=instance.deadline_at,
            not_before=due_at,
            priority=execution.priority,
            trace_id=execution.trace_id,
        )
        return to_document(new, now=self._clock(), redispatch=self._redispatch, priority_step=PRIORITY_STEP)


def end_of(document: Document) -> End:
    """Also of one that the kernel ended, which knows nothing of planners."""
    if document.get("end"):
        return End(document["end"])
    return {Status.COMPLETED: End.SUCCEEDED, Status.CANCELLED: End.CANCELLED}.get(
        Status(document["status"]), End.FAILED
    )


def is_ending(path: str) -> bool:
    """Whether it belongs to the `finally` of the whole run."""
    return path.partition(".")[0] == ENDING


def _outcome_of(ended: Ended) -> Outcome:
    if ended.end is End.CANCELLED:
        return Cancelled()
    if ended.end is End.FAILED and ended.error is not None:
        return Failed(JobError(ended.error.type, ended.error.message))
    return Finished()


def _claim(document: Document, worker: str, now: datetime) -> None:
    _apply(document, transitions.claimed(new_token(), worker, now))


def _apply(document: Document, change: transitions.Change) -> None:
    """What an update of the kernel makes of a document that is not stored yet."""
    document.update(change["$set"])
    for name, amount in change.get("$inc", {}).items():
        document[name] += amount
    document["history"] = [*document["history"], change["$push"]["history"]]
