"""The use cases of who reads the audit trail."""

import asyncio
from collections.abc import AsyncIterator

from app.governance.audit.entries import Entry, Head, entry_of
from app.governance.audit.repository import AuditQuery, AuditRepository
from app.hash_chain import canonical
from app.http.pagination import Page, PageParams


class AuditService:
    def __init__(self, repository: AuditRepository) -> None:
        self._repository = repository

    async def list_page(self, tenant_id: str, query: AuditQuery, params: PageParams) -> Page[Entry]:
        """Newest first."""
        found, total = await asyncio.gather(
            self._repository.list_page(tenant_id, query, params), self._repository.count(tenant_id, query)
        )
        return Page.of([entry_of(document) for document in found], params, total=total)

    async def get_head(self, tenant_id: str) -> Head:
        return await self._repository.read_head(tenant_id)

    async def export(self, tenant_id: str, query: AuditQuery) -> AsyncIterator[bytes]:
        """JSON Lines in the order of the chain; whole only without a query."""
        async for entry in self._repository.read_chain(tenant_id, query):
            yield canonical(entry) + b"\n"
