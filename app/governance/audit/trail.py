"""The audit trail: what was done, decided or refused, for ever and in order."""

import asyncio
from collections import deque
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from types import MappingProxyType
from typing import Any

from app.cancellation import stop
from app.clock import Clock
from app.database.errors import StoreFailure
from app.errors import OrchestratorError
from app.governance.audit.chain import Chain
from app.governance.audit.entries import Act
from app.governance.audit.repository import AuditRepository
from app.hash_chain import canonical, digest_of
from app.ids import new_id
from app.observability.logging import get_logger
from app.observability.redaction import Redactor, storable

# The actor of what the product does of its own accord.
SYSTEM = "system"
MOST_LATE = 1000
LONGEST_DETAIL = 8 * 1024
LONGEST_NAME = 200
NOTHING: Mapping[str, Any] = MappingProxyType({})
_FIRST_PAUSE, _LONGEST_PAUSE = 0.2, 5.0
_LAST_TRY = 1.0
STOP_PATIENCE = timedelta(seconds=1)
HEAD_PAUSE = timedelta(hours=1)

log = get_logger(__name__)


class AuditTrail:
    """Every entry is chained to the one before it; see `app.governance.audit.entries`.

    What is recorded passes the redactor first: neither secrets nor what people and models wrote belong here.
    """

    def __init__(
        self, repository: AuditRepository, redactor: Redactor, *, clock: Clock, on_lost: Callable[[], None]
    ) -> None:
        """``on_lost`` is called for every act that could not be kept."""
        self._repository = repository
        self._redactor = redactor
        self._clock = clock
        self._on_lost = on_lost
        self._chains: dict[str, Chain] = {}
        self._heads_told: dict[str, datetime] = {}
        self._late: deque[Act] = deque()
        self._writer: asyncio.Task[None] | None = None

    async def record(
        self,
        tenant_id: str,
        kind: str,
        actor: str,
        subject: Mapping[str, str],
        detail: Mapping[str, Any] = NOTHING,
    ) -> None:
        """Record what was done: durable when this returns, as long as the store answers.

        Never fails what it tells of: while the store is away, acts wait in memory, up to `MOST_LATE`.
        """
        await self.write(self.act(tenant_id, kind, actor, subject, detail))

    async def write(self, act: Act) -> bool:
        """`record`, of an act that `act` has made; False while it waits in memory only."""
        try:
            await self._append(act)
        except OrchestratorError as error:
            log.warning("audit.delayed", kind=act.kind, error_type=type(error).__name__)
            self._delay(act)
            return False
        return True

    async def has(self, act: Act) -> bool:
        """Whether the store has an entry of it."""
        return await self._repository.has_act(act)

    def record_soon(
        self,
        tenant_id: str,
        kind: str,
        actor: str,
        subject: Mapping[str, str],
        detail: Mapping[str, Any] = NOTHING,
    ) -> None:
        """`record` for those who cannot wait for the store at all."""
        self._delay(self.act(tenant_id, kind, actor, subject, detail))

    async def close(self) -> None:
        """Write what still waits, if the store takes it now."""
        if self._writer is not None:
            await asyncio.wait({self._writer}, timeout=_LAST_TRY)
            await stop(self._writer, patience=STOP_PATIENCE)
        for act in self._late:
            self._lose(act)

    def act(
        self, tenant_id: str, kind: str, actor: str, subject: Mapping[str, str], detail: Mapping[str, Any] = NOTHING
    ) -> Act:
        """What is done now, as it may be recorded. Another entry with the same ``id`` is of the same act."""
        named = {name: storable(self._redactor.text(str(value)))[:LONGEST_NAME] for name, value in subject.items()}
        return Act(new_id(), tenant_id, self._clock(), kind, actor, named, self._told(detail))

    def _told(self, detail: Mapping[str, Any]) -> Mapping[str, Any]:
        told: Mapping[str, Any] = self._redactor.value(detail)
        size = len(canonical(told))
        return told if size <= LONGEST_DETAIL else {"left_out_bytes": size, "digest": digest_of(told)}

    async def _append(self, act: Act) -> None:
        chain = self._chain_of(act.tenant_id)
        await chain.append(act)
        told = self._heads_told.get(act.tenant_id)
        if chain.head is not None and (told is None or act.at - told >= HEAD_PAUSE):
            self._heads_told[act.tenant_id] = act.at
            # Wherever logs are collected, this is an anchor that whoever changes the store cannot reach.
            log.info("audit.head", tenant_id=act.tenant_id, anchor=str(chain.head))

    def _chain_of(self, tenant_id: str) -> Chain:
        return self._chains.setdefault(tenant_id, Chain(self._repository, tenant_id))

    def _delay(self, act: Act) -> None:
        if len(self._late) >= MOST_LATE:
            self._lose(act)
            return
        self._late.append(act)
        if self._writer is None or self._writer.done():
            self._writer = asyncio.create_task(self._keep_writing(), name="audit")

    async def _keep_writing(self) -> None:
        pause = _FIRST_PAUSE
        while self._late:
            act = self._late[0]
            try:
                await self._append(act)
            except StoreFailure:
                # The store will not have this one, ever; those behind it must not wait for it.
                self._lose(self._late.popleft())
            except OrchestratorError:
                await asyncio.sleep(pause)
                pause = min(2 * pause, _LONGEST_PAUSE)
            else:
                self._late.popleft()
                pause = _FIRST_PAUSE

    def _lose(self, act: Act) -> None:
        log.error("audit.lost", kind=act.kind, actor=act.actor, tenant_id=act.tenant_id)
        self._on_lost()
