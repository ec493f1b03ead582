"""The chain of one tenant as one process writes it."""

import asyncio
from collections.abc import Sequence
from contextlib import suppress

from app.cancellation import undisturbed
from app.database.errors import DuplicateDocument
from app.errors import OrchestratorError, Unavailable
from app.governance.audit.entries import Act, Entry, Head, head_of
from app.governance.audit.repository import AuditRepository

# Each lost race means that another process has written; nobody loses so often unless hundreds write at once.
MOST_RACES = 100


class AuditBusy(Unavailable):
    code = "AUDIT_BUSY"
    title = "Audit trail busy"


class Chain:
    """Appends acts. Those that come while one is written go into the store together, with one write."""

    def __init__(self, repository: AuditRepository, tenant_id: str) -> None:
        self._repository = repository
        self._tenant_id = tenant_id
        self._waiting: list[Act] = []
        self._tried: dict[str, Entry] = {}
        self._head: Head | None = None
        self._turn = asyncio.Lock()

    @property
    def head(self) -> Head | None:
        """The last entry, while this process has written it and knows of no later one."""
        return self._head

    @undisturbed
    async def append(self, act: Act) -> None:
        """Return when it is in the store. Raises what the store does; the same act may then be given again."""
        self._waiting.append(act)
        async with self._turn:
            if act not in self._waiting:
                return
            try:
                await self._write_waiting()
            except OrchestratorError:
                # If it is written already, only others that came with it are not, and they try for themselves.
                if act in self._waiting:
                    self._waiting.remove(act)
                    raise

    async def _write_waiting(self) -> None:
        for _ in range(MOST_RACES):
            # Who comes after this line waits for the next write: what is not known of them is not looked up here.
            acts = list(self._waiting)
            await self._forget_written(acts)
            unwritten = [act for act in acts if act in self._waiting]
            if not unwritten:
                return
            await self._write_once(unwritten)
        raise AuditBusy("the audit trail is written by too many at once; try again in a moment")

    async def _forget_written(self, acts: Sequence[Act]) -> None:
        """Of a write that failed nobody knows whether it was made; the driver repeats writes too."""
        for act in acts:
            entry = self._tried.get(act.id)
            if entry is not None:
                if await self._repository.has(entry):
                    self._written(act)
                self._tried.pop(act.id, None)

    async def _write_once(self, acts: Sequence[Act]) -> None:
        head, self._head = self._head or await self._repository.read_head(self._tenant_id), None
        entries = _linked(acts, head)
        self._tried.update(zip((act.id for act in acts), entries, strict=True))
        try:
            await self._repository.insert(self._tenant_id, entries)
        except DuplicateDocument:
            return
        for act in acts:
            self._written(act)
            self._tried.pop(act.id, None)
        self._head = head_of(entries[-1])

    def _written(self, act: Act) -> None:
        # The same act may have been given twice, by the request and by the upkeep.
        with suppress(ValueError):
            self._waiting.remove(act)


def _linked(acts: Sequence[Act], head: Head) -> list[Entry]:
    entries = []
    for act in acts:
        entries.append(act.after(head))
        head = head_of(entries[-1])
    return entries
