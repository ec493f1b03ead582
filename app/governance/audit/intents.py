"""Acts that are written down before they are done, so that a process which dies in the middle leaves its trace."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from typing import Any

from app.clock import Clock
from app.database.documents import Documents, Sort
from app.database.indexes import Index
from app.errors import OrchestratorError
from app.governance.audit.entries import Act, act_of, intent_of
from app.governance.audit.trail import NOTHING, AuditTrail
from app.observability.logging import get_logger

COLLECTION = "audit_intents"
INDEXES = (Index(COLLECTION, (("due_at", 1),)),)
OLDEST_FIRST: Sort = (("due_at", 1),)
BATCH = 100
# No request takes so long: whoever has not said by then what became of its act is dead.
PATIENCE = timedelta(minutes=2)
UNKNOWN_OUTCOME: Mapping[str, Any] = {"outcome": "unknown"}

log = get_logger(__name__)


class Intents:
    def __init__(self, documents: Documents, trail: AuditTrail, *, clock: Clock) -> None:
        self._documents = documents
        self._trail = trail
        self._clock = clock

    @asynccontextmanager
    async def around(
        self, tenant_id: str, kind: str, actor: str, subject: Mapping[str, str], detail: Mapping[str, Any] = NOTHING
    ) -> AsyncIterator[dict[str, Any]]:
        """Do the act, and nothing else, in the block; what is put into the dictionary is recorded as detail, too.

        An act that cannot be written down is not done: raises what the store does. One that was refused (an error of
        the caller's) is not recorded. Where nobody knows what became of it, the entry comes from `settle_left`.
        """
        act = self._trail.act(tenant_id, kind, actor, subject, detail)
        await self._documents.insert({**intent_of(act), "due_at": act.at + PATIENCE})
        found: dict[str, Any] = {}
        try:
            yield found
        except OrchestratorError as error:
            if error.status < 500:
                await self._forget(act)
            raise
        done = self._trail.act(tenant_id, kind, actor, subject, {**detail, **found})
        if await self._trail.write(replace(done, id=act.id, at=act.at)):
            await self._forget(act)

    async def settle_left(self) -> int:
        """Record those whose process died or lost the store in between, up to a bound; answers how many were left."""
        left = await self._documents.find_many({"due_at": {"$lte": self._clock()}}, limit=BATCH, sort=OLDEST_FIRST)
        for act in map(act_of, left):
            if not await self._trail.has(act):
                log.warning("audit.outcome_unknown", kind=act.kind, tenant_id=act.tenant_id)
                if not await self._trail.write(replace(act, detail={**act.detail, **UNKNOWN_OUTCOME})):
                    continue
            await self._forget(act)
        return len(left)

    async def _forget(self, act: Act) -> None:
        try:
            await self._documents.of_tenant(act.tenant_id).delete_one({"_id": act.id})
        except OrchestratorError:
            # It is settled later: what the trail has is not recorded again.
            log.warning("audit.intent_left", kind=act.kind)
