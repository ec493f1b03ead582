"""The collection `approvals`. Every change is conditional on the version that was read, and none undoes a decision."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from app.database.documents import NEWEST_FIRST, Document, Documents, Sort
from app.database.errors import DuplicateDocument
from app.database.indexes import Index
from app.governance.approvals.models import Approval, ApprovalStatus, SubjectKind
from app.governance.approvals.transitions import Change
from app.http.pagination import MOST_COUNTED, Cursor, older_than

COLLECTION = "approvals"
INDEXES = (
    Index(COLLECTION, (("tenant_id", 1), ("created_at", -1), ("_id", -1))),
    Index(COLLECTION, (("tenant_id", 1), ("status", 1), ("created_at", -1), ("_id", -1))),
    Index(COLLECTION, (("tenant_id", 1), ("kind", 1), ("created_at", -1), ("_id", -1))),
    Index(COLLECTION, (("tenant_id", 1), ("inbox", 1), ("created_at", -1), ("_id", -1))),
    Index(COLLECTION, (("tenant_id", 1), ("task_id", 1))),
    Index(COLLECTION, (("execution_id", 1),)),
    Index(COLLECTION, (("look_at", 1),)),
    Index(COLLECTION, (("check_at", 1),)),
)
OLDEST_LOOK_FIRST: Sort = (("look_at", 1),)
OLDEST_CHECK_FIRST: Sort = (("check_at", 1),)
_PENDING = {"status": ApprovalStatus.PENDING.value}
# One that was cancelled may be asked anew, and nothing else.
_OPEN = [ApprovalStatus.PENDING.value, ApprovalStatus.CANCELLED.value]


@dataclass(frozen=True, slots=True)
class Voter:
    """Whose inbox is shown: all that approvers may call this key; none for one that may not decide."""

    key_id: str
    names: Collection[str]


@dataclass(frozen=True, slots=True)
class ApprovalQuery:
    """Everything is optional and combines with and. ``voter`` shows only what this key may decide now."""

    status: ApprovalStatus | None = None
    kind: SubjectKind | None = None
    voter: Voter | None = None
    created_after: datetime | None = None
    created_before: datetime | None = None
    task_id: str | None = None
    execution_id: str | None = None


class ApprovalRepository:
    def __init__(self, documents: Documents) -> None:
        self._documents = documents

    async def insert(self, document: Document) -> bool:
        """False when the same was asked before."""
        try:
            await self._documents.insert(document)
        except DuplicateDocument:
            return False
        return True

    async def find(self, tenant_id: str, approval_id: str) -> Approval | None:
        found = await self._documents.of_tenant(tenant_id).find_one({"_id": approval_id})
        return Approval.read(found) if found else None

    async def change(self, approval: Approval, change: Change, *, before: datetime | None = None) -> Approval | None:
        """None when it was decided, was changed since it was read, or has expired ``before`` then."""
        as_read: Document = {"_id": approval.id, "version": approval.version, "status": {"$in": _OPEN}}
        if before is not None:
            as_read["$or"] = [{"expires_at": None}, {"expires_at": {"$gt": before}}]
        changed = await self._documents.of_tenant(approval.tenant_id).change_one(as_read, change)
        return Approval.read(changed) if changed else None

    async def note_recorded(self, approval: Approval, entries: Sequence[int]) -> None:
        """That the audit trail has these entries of its history."""
        change = {"$addToSet": {"recorded": {"$each": list(entries)}}}
        await self._documents.of_tenant(approval.tenant_id).update_one({"_id": approval.id}, change)

    async def look_again(self, approval: Approval, at: datetime | None) -> None:
        """Unless it was changed since it was read: then whoever changed it says when."""
        as_read = {"_id": approval.id, "version": approval.version}
        await self._documents.of_tenant(approval.tenant_id).update_one(as_read, {"$set": {"look_at": at}})

    async def check_again(self, approval: Approval, at: datetime) -> None:
        """Unless it was changed since it was read."""
        as_read = {"_id": approval.id, "version": approval.version, **_PENDING}
        await self._documents.of_tenant(approval.tenant_id).update_one(as_read, {"$set": {"check_at": at}})

    async def list_page(
        self, tenant_id: str, query: ApprovalQuery, *, limit: int, skip: int = 0, after: Cursor | None = None
    ) -> list[Approval]:
        """Newest first, from ``skip`` or from just behind ``after``."""
        where = _where(query)
        if after is not None:
            where = {"$and": [where, older_than(after)]}
        documents = self._documents.of_tenant(tenant_id)
        found = await documents.find_many(where, limit=limit, skip=skip, sort=NEWEST_FIRST)
        return [Approval.read(document) for document in found]

    async def count(self, tenant_id: str, query: ApprovalQuery) -> int:
        return await self._documents.of_tenant(tenant_id).count(_where(query), limit=MOST_COUNTED)

    async def list_due(self, now: datetime, *, limit: int) -> list[Approval]:
        """Of all tenants, those to be looked at, the longest overdue first."""
        found = await self._documents.find_many({"look_at": {"$lte": now}}, limit=limit, sort=OLDEST_LOOK_FIRST)
        return [Approval.read(document) for document in found]

    async def list_unchecked(self, now: datetime, *, limit: int) -> list[Approval]:
        """Of all tenants, pending ones of which nobody knows for a while whether their work still waits."""
        found = await self._documents.find_many({"check_at": {"$lte": now}}, limit=limit, sort=OLDEST_CHECK_FIRST)
        return [Approval.read(document) for document in found]


def _where(query: ApprovalQuery) -> Document:
    given = {"status": query.status, "kind": query.kind}
    where: Document = {name: value.value for name, value in given.items() if value is not None}
    ids = {"task_id": query.task_id, "execution_id": query.execution_id}
    where |= {name: value for name, value in ids.items() if value is not None}
    bounds = {"$gte": query.created_after, "$lt": query.created_before}
    if created := {operator: bound for operator, bound in bounds.items() if bound is not None}:
        where["created_at"] = created
    return where if query.voter is None else {**_addressed_to(query.voter), "$and": [where]}


def _addressed_to(voter: Voter) -> Document:
    # What is over is in nobody's inbox, so that this goes by its index however much others have to decide.
    return {
        "inbox": {"$in": sorted(voter.names)},
        **_PENDING,
        "voters": {"$ne": voter.key_id},
        "delegations.by": {"$ne": voter.key_id},
        "$or": [{"asks_requester": True}, {"requested_by": {"$ne": voter.key_id}}],
    }


def delay_after(waited: timedelta) -> timedelta:
    """Until an owner that could not be told is told again: a second at first, a minute at most."""
    return min(max(waited, timedelta(seconds=1)), timedelta(minutes=1))
