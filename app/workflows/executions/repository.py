"""The collections `executions` and `steps` as their readers need them, and marks that a driver heeds.

Every change of a status is the kernel's.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from app.artifacts.evidence import DIGESTS, EVIDENCE
from app.database.documents import NEWEST_FIRST, Document, Documents
from app.database.indexes import Index
from app.governance.legal_holds import repository as legal_holds
from app.http.pagination import MOST_COUNTED, Cursor, older_than
from app.jobs import retention
from app.jobs.documents import to_job
from app.jobs.models import OPEN, Job
from app.jobs.store import WAITING
from app.replay.models import RECORDINGS
from app.workflows.executions.listing import ExecutionQuery, StepQuery, where_execution, where_step
from app.workflows.executions.models import (
    EXECUTIONS,
    ExecutionFinished,
    ExecutionNotFound,
    ExecutionStatus,
    StepNotFound,
    Waits,
    step_id,
)

INDEXES = (
    Index(EXECUTIONS, (("tenant_id", 1), ("created_at", -1), ("_id", -1))),
    Index(EXECUTIONS, (("tenant_id", 1), ("status", 1), ("created_at", -1), ("_id", -1))),
    Index(EXECUTIONS, (("tenant_id", 1), ("workflow.id", 1), ("created_at", -1), ("_id", -1))),
    Index(EXECUTIONS, (("tenant_id", 1), ("workflow.name", 1), ("created_at", -1), ("_id", -1))),
    Index(EXECUTIONS, (("rests_paused", 1), ("updated_at", 1)), {"partialFilterExpression": {"rests_paused": True}}),
    Index(EXECUTIONS, (("forked_from.execution_id", 1),), {"sparse": True}),
    Index(EXECUTIONS, (("status", 1), ("fault", 1))),
    *retention.indexes(EXECUTIONS),
    *legal_holds.indexes(EXECUTIONS),
)
AT_REST = (
    ExecutionStatus.QUEUED, ExecutionStatus.WAITING, ExecutionStatus.AWAITING_APPROVAL, ExecutionStatus.PAUSED
)  # fmt: skip
MOST_OPEN = 1000
# Of those that may have one artifact.
MOST_NAMING = 100
# As many as a document has steps at most, a few times over.
MOST_SINGLE = 10_000
# The newest of them: a path is looked for in each.
MOST_SERIES = 100
_OPEN = [status.value for status in OPEN]
BY_SEQ = (("seq", 1),)
BY_END = (("ended_seq", 1),)
NEWEST_SERIES = (("series", -1),)
_PLACE = ("status", "attempt", "max_attempts", "created_at", "not_before", "queued_at", "lease", "dispatches", "error")
_JOB = ("tenant_id", *_PLACE)
SUMMARY_FIELDS = (
    *_JOB, "workflow", "series", "begun_at", "paused_at", "idle_for", "completed_at", "progress", "fault", "cost",
    "forked_from",
)  # fmt: skip
PROGRESS_FIELDS = (*SUMMARY_FIELDS, "cancel_wanted", "last_seq", "log", "updated_at", "started_at")
STEP_FIELDS = (
    *_JOB, "execution_id", "series", "path", "name", "kind", "seq", "ended_seq", "end", "fault", "agent", "waits_for",
    "votes", "started_at", "completed_at", "updated_at", "reused_from", "artifacts",
    RECORDINGS,
)  # fmt: skip
KEEPING_FIELDS = (*STEP_FIELDS, "output", DIGESTS, EVIDENCE)
_OF_PLAN = ("workflow", "cases")
EVENT_FIELDS = (
    "series", "path", "kind", "seq", "ended_seq", "end", "fault", "attempt", "agent", "created_at", "completed_at",
    "waits_for", "status", "error",
)  # fmt: skip


class ExecutionRepository:
    def __init__(self, executions: Documents, steps: Documents) -> None:
        self._executions = executions
        self._steps = steps

    async def find(self, tenant_id: str, execution_id: str) -> Job | None:
        found = await self._executions.of_tenant(tenant_id).find_one({"_id": execution_id})
        return to_job(found) if found else None

    async def get(self, tenant_id: str, execution_id: str) -> Job:
        return _there(await self.find(tenant_id, execution_id), execution_id)

    async def get_progress(self, tenant_id: str, execution_id: str) -> Job:
        """Without what it was given and gives: what waits for it looks often."""
        documents = self._executions.of_tenant(tenant_id)
        found = await documents.find_one({"_id": execution_id}, fields=PROGRESS_FIELDS)
        return _there(to_job(found) if found else None, execution_id)

    async def list_page(
        self, tenant_id: str, query: ExecutionQuery, *, limit: int, skip: int = 0, after: Cursor | None = None
    ) -> list[Job]:
        """Summaries, newest first, from ``skip`` or from just behind ``after``."""
        where = where_execution(query)
        if after is not None:
            where = {"$and": [where, older_than(after)]}
        found = await self._executions.of_tenant(tenant_id).find_many(
            where, limit=limit, skip=skip, sort=NEWEST_FIRST, fields=SUMMARY_FIELDS
        )
        return [to_job(document) for document in found]

    async def count(self, tenant_id: str, query: ExecutionQuery) -> int:
        return await self._executions.of_tenant(tenant_id).count(where_execution(query), limit=MOST_COUNTED)

    async def count_open(self, tenant_id: str, most: int) -> dict[str, int]:
        """Executions that have not ended, by status as clients see it, each counted up to ``most``."""
        documents = self._executions.of_tenant(tenant_id)
        counts = {
            status.value: await documents.count(where_execution(ExecutionQuery(status)), limit=most)
            for status in AT_REST
        }
        # No index answers what is left, which is all others.
        known = await documents.count({"status": {"$in": _OPEN}}, limit=most)
        return {**counts, ExecutionStatus.PROCESSING.value: max(known - sum(counts.values()), 0)}

    async def mark(
        self, tenant_id: str, execution_id: str, fields: Mapping[str, Any], *, where: Mapping[str, Any]
    ) -> bool:
        """Have its driver take note of something; False when it is not as ``where`` says.

        Raises `ExecutionNotFound`, and `ExecutionFinished` for one that has ended.
        """
        still_open = {"_id": execution_id, "status": {"$in": _OPEN}}
        if await self._executions.of_tenant(tenant_id).update_one({**where, **still_open}, {"$set": dict(fields)}):
            return True
        found = await self.get_progress(tenant_id, execution_id)
        if found.status.is_final:
            raise ExecutionFinished(f"execution {execution_id} is already {found.status}", status=found.status)
        return False

    async def list_steps(
        self, tenant_id: str, execution_id: str, query: StepQuery, *, limit: int, after: int = 0
    ) -> list[Document]:
        """Step instances without what they were given and gave, in the order in which they began."""
        where = {"execution_id": execution_id, "seq": {"$gt": after}, **where_step(query)}
        return await self._list(tenant_id, where, limit, BY_SEQ, STEP_FIELDS)

    async def get_step(self, execution: Job, path: str, *, series: int | None = None) -> Document:
        """The whole step of this series, else of the newest that has it. Raises `StepNotFound`."""
        newest: int = execution.document["series"]
        looked_at = range(max(newest - MOST_SERIES, 0) + 1, newest + 1) if series is None else [series]
        ids = [step_id(execution.id, number, path) for number in looked_at]
        found = await self._list(execution.tenant_id, {"_id": {"$in": ids}}, 1, NEWEST_SERIES, None)
        if not found:
            raise StepNotFound(f"execution {execution.id} has no step {path[:200]!r} yet", path=path[:200])
        return found[0]

    async def list_open(self, tenant_id: str, execution_id: str, *, limit: int = MOST_OPEN) -> list[Document]:
        """Steps that have not ended, in no particular order."""
        return await self._list(tenant_id, {"execution_id": execution_id, "ended_seq": None}, limit, None, STEP_FIELDS)

    async def list_waiting_for_events(
        self, tenant_id: str, execution_id: str, signals: Iterable[tuple[str, str | None]]
    ) -> list[Document]:
        """Those that may wait for one of these, which are events with their keys; a thousand may wait for others."""
        known = list(signals)
        where = {
            "execution_id": execution_id,
            "status": {"$in": WAITING},
            "waits_for.what": Waits.EVENT.value,
            "waits_for.event": {"$in": sorted({event for event, _ in known})},
            "waits_for.key": {"$in": [None, *sorted({key for _, key in known if key is not None})]},
        }
        return await self._list(tenant_id, where, MOST_OPEN, BY_SEQ, (*STEP_FIELDS, *_OF_PLAN))

    async def find_signal_of(self, tenant_id: str, step: str) -> str | None:
        """Which signal ended this step, if one did."""
        found = await self._steps.of_tenant(tenant_id).find_one({"_id": step}, fields=["signal_id"])
        return (found or {}).get("signal_id")

    async def list_single(self, tenant_id: str, execution_id: str) -> list[Document]:
        """Steps outside of repetitions, of all series and those of the newest last."""
        where = {"execution_id": execution_id, "path": {"$regex": r"^[^\[]*$"}}
        return await self._list(tenant_id, where, MOST_SINGLE, BY_SEQ, STEP_FIELDS)

    async def find_step(self, tenant_id: str, instance: str) -> Document | None:
        """With what it takes to end it."""
        fields = (*STEP_FIELDS, *_OF_PLAN, EVIDENCE, DIGESTS)
        return await self._steps.of_tenant(tenant_id).find_one({"_id": instance}, fields=fields)

    async def show_approval(
        self, step: Document, *, votes: Sequence[Mapping[str, Any]], approvers: Sequence[str]
    ) -> None:
        """How far the approval is that a step waits for; whoever is late with fewer votes shows nothing."""
        shown, told = len(step["votes"]), step["waits_for"].get("approvers")
        if len(votes) < shown or (len(votes) == shown and told == approvers):
            return
        as_read = {"_id": step["_id"], "status": {"$in": WAITING}, "votes": {"$size": shown}}
        change = {"votes": [dict(vote) for vote in votes], "waits_for.approvers": list(approvers)}
        await self._steps.of_tenant(step["tenant_id"]).update_one(as_read, {"$set": change})

    async def list_keeping(self, tenant_id: str, execution_id: str, *, after: int, limit: int) -> list[Document]:
        """Steps that keep artifacts, or have evidence or what their agents made, with their outputs, as they began."""
        keeping = {"$or": [{"artifacts": {"$ne": {}}}, {DIGESTS: {"$ne": None}}]}
        where = {"execution_id": execution_id, "seq": {"$gt": after}, **keeping}
        return await self._list(tenant_id, where, limit, BY_SEQ, KEEPING_FIELDS)

    async def list_naming(self, tenant_id: str, sha256: str) -> list[Document]:
        """Some steps for which the artifact store may hold this, with their outputs."""
        documents = self._steps.of_tenant(tenant_id)
        return await documents.find_many({DIGESTS: sha256}, limit=MOST_NAMING, fields=KEEPING_FIELDS)

    async def list_begun(self, tenant_id: str, execution_id: str, *, after: int, limit: int) -> list[Document]:
        """Steps whose beginning comes after this place in the order of events."""
        where = {"execution_id": execution_id, "seq": {"$gt": after}}
        return await self._list(tenant_id, where, limit, BY_SEQ, EVENT_FIELDS)

    async def list_ended(self, tenant_id: str, execution_id: str, *, after: int, limit: int) -> list[Document]:
        """Steps whose end comes after this place in the order of events."""
        where = {"execution_id": execution_id, "ended_seq": {"$gt": after}}
        return await self._list(tenant_id, where, limit, BY_END, EVENT_FIELDS)

    async def newest_seq(self, tenant_id: str, execution_id: str) -> int:
        """The largest number that an event of a step has, 0 before the first."""
        where, documents = {"execution_id": execution_id}, self._steps.of_tenant(tenant_id)
        found = [
            await documents.find_many(where, limit=1, sort=((name, -1),), fields=[name])
            for name in ("seq", "ended_seq")
        ]
        numbers = (
            number for documents in found for one in documents for number in (one.get("seq"), one.get("ended_seq"))
        )
        return max((number for number in numbers if number is not None), default=0)

    async def _list(
        self,
        tenant_id: str,
        where: Mapping[str, Any],
        limit: int,
        sort: Sequence[tuple[str, int]] | None,
        fields: Sequence[str] | None,
    ) -> list[Document]:
        return await self._steps.of_tenant(tenant_id).find_many(where, limit=limit, sort=sort, fields=fields)


def _there(found: Job | None, execution_id: str) -> Job:
    if found is None:
        raise ExecutionNotFound(f"no execution {execution_id[:64]!r}", execution_id=execution_id[:64])
    return found
