"""Which executions may go for their age, and what is deleted with them.

One that has ended counts as uncounted until nobody needs its steps any more: each of them has ended, what it consumed
is in the totals, and no fork has still to take it over. From then on it is deleted as a task is.
"""

from collections.abc import Sequence

from app.clock import Clock
from app.database.documents import Document, Documents
from app.jobs.models import OPEN
from app.jobs.retention import PAUSE, DeleteBelongings, ExpiredJob, Retention, Rule
from app.metrics.rollups import UNCHARGED

# Each may have thousands of steps, and the next sweep waits meanwhile.
EXECUTIONS_AT_ONCE = 50
MOST_RELEASED = 250
STEPS_AT_ONCE = 1000
_OPEN = sorted(status.value for status in OPEN)


class ExecutionRetention:
    def __init__(
        self, executions: Documents, steps: Documents, retention: Retention, rules: Sequence[Rule], *, clock: Clock
    ) -> None:
        """``retention`` deletes by the same rules what is released here."""
        self._executions = executions
        self._steps = steps
        self._retention = retention
        self._rules = rules
        self._clock = clock
        self._rests_until = clock()

    async def delete_batches(self) -> int:
        """Delete what is old enough, up to a bound; answers how many executions."""
        await self._release()
        return await self._retention.delete_batches()

    async def _release(self) -> None:
        if not self._rules or self._clock() < self._rests_until:
            return
        old = [one for rule in self._rules for one in await self._list_old(rule)]
        for one in old:
            if not await self._is_needed(one["_id"]):
                # Only if still ended: a retry meanwhile began a series that is needed.
                as_read = {"_id": one["_id"], "completed_at": one["completed_at"]}
                await self._executions.update_one(as_read, {"$set": {"uncounted": False}})
        if len(old) < MOST_RELEASED:
            self._rests_until = self._clock() + PAUSE

    async def _list_old(self, rule: Rule) -> list[Document]:
        old = {
            "status": {"$in": sorted(status.value for status in rule.statuses)},
            "completed_at": {"$lt": self._clock() - rule.keep},
            "uncounted": True,
        }
        return await self._executions.find_many(old, limit=MOST_RELEASED, fields=("completed_at",))

    async def _is_needed(self, execution_id: str) -> bool:
        unsettled = {"execution_id": execution_id, "$or": [{"status": {"$in": _OPEN}}, {UNCHARGED: True}]}
        if await self._steps.find_one(unsettled, fields=["_id"]):
            return True
        # Once it has begun, a fork has copies of what it took over.
        taking_over = {"forked_from.execution_id": execution_id, "status": {"$in": _OPEN}, "begun_at": None}
        return await self._executions.find_one(taking_over, fields=["_id"]) is not None


def delete_steps_of(steps: Documents, belongings: Sequence[DeleteBelongings]) -> DeleteBelongings:
    """Deletes the steps of executions; ``belongings`` delete what belongs to the steps that were carried out."""

    async def delete(executions: Sequence[ExpiredJob]) -> None:
        for execution in executions:
            of_execution = {"execution_id": execution.id}
            while found := await steps.find_many(of_execution, limit=STEPS_AT_ONCE, fields=("tenant_id", "attempt")):
                await _delete_belongings([step for step in found if step["attempt"]], belongings)
                await steps.delete_many({"_id": {"$in": [step["_id"] for step in found]}})

    return delete


def by_execution_id(documents: Documents) -> DeleteBelongings:
    """Deletes documents that name their execution, by an index on that."""

    async def delete(executions: Sequence[ExpiredJob]) -> None:
        await documents.delete_many({"execution_id": {"$in": [execution.id for execution in executions]}})

    return delete


async def _delete_belongings(carried_out: Sequence[Document], belongings: Sequence[DeleteBelongings]) -> None:
    jobs = [ExpiredJob(step["_id"], step["tenant_id"]) for step in carried_out]
    if not jobs:
        return
    for delete in belongings:
        await delete(jobs)
