"""The plans of stored workflows, each compiled once in a process."""

import asyncio
from collections import OrderedDict
from typing import Protocol

from app.workflows.definitions.reading import DefinitionReader
from app.workflows.plan import Plan

MOST_KEPT = 200
_Key = tuple[str, str, str]


class PlanSource(Protocol):
    async def get(self, tenant_id: str, name: str, digest: str) -> Plan:
        """Raises `WorkflowNotFound`, and what the store raises."""
        ...


class Plans:
    """By the version that an execution is pinned to, which never changes."""

    def __init__(self, reader: DefinitionReader) -> None:
        self._reader = reader
        self._kept: OrderedDict[_Key, asyncio.Task[Plan]] = OrderedDict()

    async def get(self, tenant_id: str, name: str, digest: str) -> Plan:
        """Raises `WorkflowNotFound`, and what the store raises."""
        key = (tenant_id, name, digest)
        reading = self._kept.get(key)
        if reading is None or (reading.done() and (reading.cancelled() or reading.exception())):
            reading = self._kept[key] = asyncio.create_task(self._read(*key))
        self._kept.move_to_end(key)
        if len(self._kept) > MOST_KEPT:
            self._kept.popitem(last=False)
        # Others wait for the same reading: who is cancelled must not take it along.
        return await asyncio.shield(reading)

    async def _read(self, tenant_id: str, name: str, digest: str) -> Plan:
        definition = await self._reader.read_version(tenant_id, name, digest)
        return definition.plan
