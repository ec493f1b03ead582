"""Holds as the documents of their subjects keep them, so that one write deletes only what is not held."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from app.database.documents import Document, Documents, Sort
from app.database.indexes import Index
from app.errors import NotFound
from app.governance.legal_holds.models import HeldKind, LegalHold, NotHoldable
from app.http.pagination import Cursor
from app.jobs.models import DRY_RUN, LEGAL_HOLD

_HELD, _PLACED_AT = f"{LEGAL_HOLD}.held", f"{LEGAL_HOLD}.placed_at"
IS_HELD: Document = {_HELD: True}


def indexes(collection: str, id_field: str = "_id") -> tuple[Index, ...]:
    """For lists of holds, and for who looks after what is held; both hold nothing else."""
    partial = {"partialFilterExpression": IS_HELD}
    return (
        Index(collection, (("tenant_id", 1), (_PLACED_AT, -1), (id_field, -1)), partial),
        Index(collection, ((_HELD, 1), ("_id", 1)), partial),
    )


@dataclass(frozen=True, slots=True)
class Subjects:
    """The documents of one kind, each found by ``id_field`` within its tenant; ``is_id`` is what an id looks like."""

    kind: HeldKind
    documents: Documents
    not_found: type[NotFound]
    is_id: Callable[[str], bool]
    id_field: str = "_id"


class HoldRepository:
    """The holds of one kind of subjects."""

    def __init__(self, subjects: Subjects) -> None:
        self._subjects = subjects
        self._id = subjects.id_field

    async def place(self, tenant_id: str, subject_id: str, reason: str, *, by: str, now: datetime) -> LegalHold:
        """In place of the one that there is. Raises the subject's `NotFound`, also for one that is being deleted."""
        self._check_id(subject_id)
        documents = self._subjects.documents.of_tenant(tenant_id)
        hold = {"held": True, "reason": reason, "placed_by": by, "placed_at": now}
        changed = await documents.change_one({self._id: subject_id, DRY_RUN: None}, {"$set": {LEGAL_HOLD: hold}})
        if changed is None:
            raise self._missing(subject_id)
        return self._read(changed)

    async def find(self, tenant_id: str, subject_id: str) -> LegalHold | None:
        """Raises the subject's `NotFound`, and `NotHoldable`."""
        self._check_id(subject_id)
        fields = (self._id, LEGAL_HOLD, DRY_RUN)
        found = await self._subjects.documents.of_tenant(tenant_id).find_one({self._id: subject_id}, fields=fields)
        if found is None:
            raise self._missing(subject_id)
        if found.get(DRY_RUN):
            raise NotHoldable("a dry run is removed within the hour and cannot be held; submit the task to keep it")
        return self._read(found) if found.get(LEGAL_HOLD) else None

    async def release(self, tenant_id: str, subject_id: str) -> None:
        held = {self._id: subject_id, **IS_HELD}
        await self._subjects.documents.of_tenant(tenant_id).update_one(held, {"$unset": {LEGAL_HOLD: ""}})

    async def list_page(
        self, tenant_id: str, *, limit: int, skip: int = 0, after: Cursor | None = None
    ) -> list[LegalHold]:
        """Newest first, from ``skip`` or from just behind ``after``."""
        where = IS_HELD if after is None else {"$and": [IS_HELD, self._older_than(after)]}
        sort: Sort = ((_PLACED_AT, -1), (self._id, -1))
        found = await self._subjects.documents.of_tenant(tenant_id).find_many(
            where, limit=limit, skip=skip, sort=sort, fields=(self._id, LEGAL_HOLD)
        )
        return [self._read(one) for one in found]

    async def count(self, tenant_id: str, *, limit: int) -> int:
        return await self._subjects.documents.of_tenant(tenant_id).count(IS_HELD, limit=limit)

    async def list_held(self, *, after: str, limit: int) -> list[tuple[str, str, str]]:
        """Documents of all tenants that are held, in the order of their ``_id``: that, the tenant, the subject's id."""
        where = {**IS_HELD, "_id": {"$gt": after}}
        fields = ("tenant_id", self._id)
        found = await self._subjects.documents.find_many(where, sort=(("_id", 1),), limit=limit, fields=fields)
        return [(one["_id"], one["tenant_id"], one[self._id]) for one in found]

    def _older_than(self, position: Cursor) -> Document:
        same = {_PLACED_AT: position.created_at, self._id: {"$lt": position.id}}
        return {"$or": [{_PLACED_AT: {"$lt": position.created_at}}, same]}

    def _read(self, document: Document) -> LegalHold:
        stored = document[LEGAL_HOLD]
        return LegalHold(
            self._subjects.kind, document[self._id], stored["reason"], stored["placed_by"], stored["placed_at"]
        )

    def _check_id(self, subject_id: str) -> None:
        if not self._subjects.is_id(subject_id):
            raise self._missing(subject_id)

    def _missing(self, subject_id: str) -> NotFound:
        return self._subjects.not_found(f"no {self._subjects.kind} {subject_id[:64]!r}")
