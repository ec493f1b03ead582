"""The use cases of kept logs: take them in, look for them."""

import uuid
from collections.abc import Sequence

from app.clock import Clock
from app.database.documents import Document
from app.http.pagination import Cursor
from app.identity.principals import Principal
from app.ids import new_id
from app.logs.models import LogEntry, LogQuery
from app.logs.reading import read_entries
from app.logs.repository import LogRepository
from app.observability.redaction import Redactor

_NAMESPACE = uuid.UUID("1f0c5a1e-7a34-4c53-9f0e-5d1d6b2a9c40")


class LogService:
    def __init__(self, repository: LogRepository, redactor: Redactor, *, clock: Clock) -> None:
        self._repository = repository
        self._redactor = redactor
        self._clock = clock

    async def take(self, principal: Principal, body: bytes, *, as_lines: bool, idempotency_key: str | None) -> int:
        """Keep all entries of the body, or raise `LogsInvalid` and keep none. The same key keeps each entry once."""
        entries = read_entries(body, as_lines=as_lines, now=self._clock(), masked=self._redactor.whole)
        await self._keep(principal, entries, idempotency_key)
        return len(entries)

    async def _keep(self, principal: Principal, entries: Sequence[LogEntry], key: str | None) -> None:
        batch = str(uuid.uuid5(_NAMESPACE, f"{principal.tenant_id}:{key}")) if key else new_id()
        owned = [(principal.tenant_id, entry) for entry in entries]
        await self._repository.keep(batch, owned, by=principal.key_id)

    async def list_newest(
        self, tenant_id: str, query: LogQuery, *, limit: int, after: Cursor | None
    ) -> tuple[list[Document], bool]:
        """The newest that match, and whether there are more."""
        found = await self._repository.list_newest(tenant_id, query, limit=limit + 1, after=after)
        return found[:limit], len(found) > limit
