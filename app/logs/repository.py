"""The kept lines of logs: inserted in batches, found by time, words and names, deleted by the store when old."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from app.clock import Clock
from app.database.documents import Document, Documents, Sort
from app.database.indexes import Index
from app.http.pagination import Cursor
from app.logs.models import LogEntry, LogQuery, document_of

COLLECTION = "logs"
_NEWEST = (("at", -1), ("_id", -1))
INDEXES = (
    Index(COLLECTION, (("expires_at", 1),), {"expireAfterSeconds": 0}),
    Index(COLLECTION, (("tenant_id", 1), *_NEWEST)),
    Index(COLLECTION, (("tenant_id", 1), ("received_at", -1))),
    Index(COLLECTION, (("tenant_id", 1), ("level", 1), *_NEWEST)),
    Index(COLLECTION, (("tenant_id", 1), ("search_terms", 1), *_NEWEST)),
    Index(COLLECTION, (("tenant_id", 1), ("task_id", 1), *_NEWEST)),
    Index(COLLECTION, (("tenant_id", 1), ("execution_id", 1), *_NEWEST)),
)
NEWEST_FIRST: Sort = _NEWEST


class LogRepository:
    def __init__(self, documents: Documents, *, lifetime: timedelta, clock: Clock) -> None:
        """Entries are deleted ``lifetime`` after they were received, whatever time they tell."""
        self._documents = documents
        self._lifetime = lifetime
        self._clock = clock

    async def keep(self, batch: str, entries: Sequence[tuple[str, LogEntry]], *, by: str) -> None:
        """Insert entries with their tenants. The same batch again inserts only what is not there yet."""
        now = self._clock()
        common = {"received_at": now, "expires_at": now + self._lifetime, "by": by}
        documents: list[Document] = [
            {**document_of(entry), **common, "_id": f"{batch}:{place:04}", "tenant_id": tenant_id}
            for place, (tenant_id, entry) in enumerate(entries)
        ]
        await self._documents.insert_missing(documents)

    async def list_newest(
        self, tenant_id: str, query: LogQuery, *, limit: int, after: Cursor | None = None
    ) -> list[Document]:
        """Newest first by the time they tell, from just behind ``after``."""
        where = query.as_filter()
        if after is not None:
            where = {"$and": [where, _before(after)]}
        return await self._documents.of_tenant(tenant_id).find_many(where, limit=limit, sort=NEWEST_FIRST)


def _before(position: Cursor) -> dict[str, Any]:
    return {
        "$or": [
            {"at": {"$lt": position.created_at}},
            {"at": position.created_at, "_id": {"$lt": position.id}},
        ]
    }
