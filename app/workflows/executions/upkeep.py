"""Heals what a crash between two writes left behind: a step that ended, or a wish that was noted, and nobody told."""

from datetime import timedelta

from app.clock import Clock
from app.database.documents import Documents
from app.jobs.models import FINAL, Status
from app.workflows.executions.journal import Journal
from app.workflows.executions.waking import Waker

# Whoever ends a step, or wishes something, wakes the driver at once; nobody need do it instead before this.
PATIENCE = timedelta(seconds=5)
BATCH = 500
REQUEST = "upkeep"
_FINAL = [status.value for status in FINAL]


class ExecutionUpkeep:
    def __init__(self, journal: Journal, executions: Documents, waker: Waker, *, clock: Clock) -> None:
        self._journal = journal
        self._executions = executions
        self._waker = waker
        self._clock = clock

    async def wake_forgotten(self) -> int:
        """Wake suspended executions that have something to do; answers how many were looked at."""
        before = self._clock() - PATIENCE
        unheard = await self._journal.list_abandoned(ended_before=before)
        forgotten = {one["execution_id"]: one["tenant_id"] for one in unheard}
        rests = {"status": Status.AWAITING_APPROVAL.value, "updated_at": {"$lt": before}}
        for unheeded in ({"cancel_wanted": {"$ne": None}}, {"rests_paused": True, "paused_at": None}):
            for one in await self._executions.find_many({**rests, **unheeded}, limit=BATCH, fields=["tenant_id"]):
                forgotten[one["_id"]] = one["tenant_id"]
        over = await self._ended(list(forgotten))
        for execution_id, tenant_id in forgotten.items():
            if execution_id in over:
                await self._journal.forget(execution_id)
            else:
                await self._waker.wake(tenant_id, execution_id, request=REQUEST)
        return len(forgotten)

    async def _ended(self, ids: list[str]) -> frozenset[str]:
        """Those that have ended, or are not there any more."""
        if not ids:
            return frozenset()
        found = await self._executions.find_many({"_id": {"$in": ids}}, limit=len(ids), fields=["status"])
        return frozenset(ids) - {one["_id"] for one in found if one["status"] not in _FINAL}
