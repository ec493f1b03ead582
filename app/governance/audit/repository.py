"""The audit trail in the store: entries are inserted and read, and nothing else."""

from collections.abc import AsyncIterator, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from app.clock import to_iso
from app.database.documents import Document, Documents, Sort
from app.database.indexes import Index
from app.governance.audit.entries import Act, Entry, Head, document_of, entry_of, head_of, id_of
from app.http.pagination import MOST_COUNTED, Cursor, InvalidCursor, PageParams

COLLECTION = "audit"
_NEWEST = (("at", -1), ("seq", -1))
INDEXES = (
    Index(COLLECTION, (("tenant_id", 1), ("seq", -1)), {"unique": True}),
    Index(COLLECTION, (("tenant_id", 1), *_NEWEST)),
    Index(COLLECTION, (("tenant_id", 1), ("kind", 1), *_NEWEST)),
    Index(COLLECTION, (("tenant_id", 1), ("actor", 1), *_NEWEST)),
    Index(COLLECTION, (("tenant_id", 1), ("subject.value", 1), *_NEWEST)),
)
NEWEST_FIRST: Sort = _NEWEST
LAST_FIRST: Sort = (("seq", -1),)
IN_ORDER: Sort = (("seq", 1),)
PAGE = 500


@dataclass(frozen=True, slots=True)
class AuditQuery:
    """Which entries are meant; everything is optional and combines with and."""

    kind: str | None = None
    actor: str | None = None
    subject: str | None = None
    since: datetime | None = None
    until: datetime | None = None

    def told(self) -> dict[str, Any]:
        """What is asked for, by name."""
        return {name: value for name, value in asdict(self).items() if value is not None}

    def as_filter(self) -> dict[str, Any]:
        wanted = {"kind": self.kind, "actor": self.actor, "subject.value": self.subject}
        where: dict[str, Any] = {name: value for name, value in wanted.items() if value is not None}
        bounds = {"$gte": self.since, "$lt": self.until}
        if times := {operator: bound for operator, bound in bounds.items() if bound is not None}:
            where["at"] = times
        return where


EVERYTHING = AuditQuery()


class AuditRepository:
    def __init__(self, documents: Documents) -> None:
        self._documents = documents

    async def read_head(self, tenant_id: str) -> Head:
        found = await self._documents.of_tenant(tenant_id).find_many(
            {}, limit=1, sort=LAST_FIRST, fields=("seq", "hash")
        )
        return head_of(found[0]) if found else Head()

    async def insert(self, tenant_id: str, entries: Sequence[Entry]) -> None:
        """Insert them one after the other; raises `DuplicateDocument` at the first whose place is taken."""
        await self._documents.of_tenant(tenant_id).insert_in_order([document_of(entry) for entry in entries])

    async def has(self, entry: Entry) -> bool:
        """Whether this very entry is at its place."""
        tenant_id, seq = entry["tenant_id"], entry["seq"]
        found = await self._documents.of_tenant(tenant_id).find_one({"_id": id_of(tenant_id, seq)}, fields=("hash",))
        return found is not None and found["hash"] == entry["hash"]

    async def has_act(self, act: Act) -> bool:
        """Whether any entry is of this act."""
        at = datetime.fromisoformat(to_iso(act.at))
        where = {"kind": act.kind, "at": at, "id": act.id}
        return await self._documents.of_tenant(act.tenant_id).find_one(where, fields=("seq",)) is not None

    async def list_page(self, tenant_id: str, query: AuditQuery, params: PageParams) -> list[Document]:
        """Newest first, one more than the page has."""
        where = query.as_filter()
        if params.after is not None:
            where = {"$and": [where, _before(params.after)]}
        return await self._documents.of_tenant(tenant_id).find_many(
            where, limit=params.page_size + 1, skip=params.skip, sort=NEWEST_FIRST
        )

    async def count(self, tenant_id: str, query: AuditQuery) -> int:
        return await self._documents.of_tenant(tenant_id).count(query.as_filter(), limit=MOST_COUNTED)

    async def read_chain(self, tenant_id: str, query: AuditQuery = EVERYTHING) -> AsyncIterator[Entry]:
        """All that match in the order of the chain, as many at a time as fit into memory with ease."""
        documents, last = self._documents.of_tenant(tenant_id), None
        while True:
            # By `_id` behind the last one: of two with one number, which only meddling can make, both are seen.
            where = query.as_filter() if last is None else {"$and": [query.as_filter(), _behind(last)]}
            found = await documents.find_many(where, limit=PAGE, sort=(*IN_ORDER, ("_id", 1)))
            for document in found:
                yield entry_of(document)
            if len(found) < PAGE:
                return
            last = found[-1]

    async def list_tenants(self) -> list[str]:
        """All that have a trail."""
        found = await self._documents.aggregate({}, [{"$group": {"_id": "$tenant_id"}}, {"$sort": {"_id": 1}}])
        return [str(one["_id"]) for one in found]


def _behind(last: Document) -> dict[str, Any]:
    return {"$or": [{"seq": {"$gt": last["seq"]}}, {"seq": last["seq"], "_id": {"$gt": last["_id"]}}]}


def _before(position: Cursor) -> dict[str, Any]:
    if not position.id.isdecimal():
        raise InvalidCursor("this cursor is of another list; use next_cursor of the last answer", field="cursor")
    return {
        "$or": [
            {"at": {"$lt": position.created_at}},
            {"at": position.created_at, "seq": {"$lt": int(position.id)}},
        ]
    }
