"""Steps that outlived their execution: the kernel failed it, and whoever drove it cancelled nothing any more."""

import asyncio
from contextlib import suppress

from app.database.documents import Document, Documents
from app.errors import NotFound
from app.jobs.models import OPEN, Status
from app.jobs.store import JobFinished, JobStore

BATCH = 50
STEPS_AT_ONCE = 100
_OPEN = [status.value for status in OPEN]


class Orphans:
    def __init__(self, executions: Documents, steps: Documents, store: JobStore) -> None:
        """``store`` is that of the steps."""
        self._executions = executions
        self._steps = steps
        self._store = store

    async def cancel_all(self) -> int:
        """Cancel the steps of executions that nobody drove to their end; answers how many executions that were."""
        # Whoever drives one to its end writes down why it failed.
        undriven = {"status": Status.FAILED.value, "fault": None}
        found = await self._executions.find_many(undriven, limit=BATCH, fields=("error", "completed_at", "series"))
        for execution in found:
            await self._cancel_steps(execution)
            as_read = {"_id": execution["_id"], "completed_at": execution["completed_at"]}
            await self._executions.update_one(as_read, {"$set": {"fault": {**execution["error"], "path": None}}})
        return len(found)

    async def _cancel_steps(self, execution: Document) -> None:
        running_on = {
            "execution_id": execution["_id"],
            # A retry meanwhile has steps of its own.
            "series": {"$lte": execution["series"]},
            "status": {"$in": _OPEN},
            "cancel_requested_at": None,
        }
        while found := await self._steps.find_many(running_on, limit=STEPS_AT_ONCE, fields=["tenant_id"]):
            await asyncio.gather(*(self._cancel(step) for step in found))

    async def _cancel(self, step: Document) -> None:
        with suppress(JobFinished, NotFound):
            await self._store.cancel(step["tenant_id"], step["_id"])
