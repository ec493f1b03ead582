"""Ends steps that wait without a worker, as somebody's answer or an event would have them end."""

from collections.abc import Mapping
from typing import Any

from app.database.documents import Document
from app.jobs.models import JobError
from app.jobs.outcomes import Failed, Finished
from app.jobs.store import JobNotSuspended, JobStore
from app.workflows.executions.plans import Plans
from app.workflows.executions.values import ValueStore, values_place_of
from app.workflows.handover import checked_output
from app.workflows.language.models import Step
from app.workflows.places import step_at
from app.workflows.view import Ended


class Conclusions:
    def __init__(self, steps: JobStore, values: ValueStore, plans: Plans) -> None:
        self._steps = steps
        self._values = values
        self._plans = plans

    async def step_of(self, document: Document) -> Step | None:
        """The step as the version says that its execution is pinned to."""
        workflow = document["workflow"]
        plan = await self._plans.get(document["tenant_id"], workflow["name"], workflow["digest"])
        return step_at(plan, document["path"], document["cases"])

    async def checked(self, document: Document, ended: Ended) -> Ended:
        """A failure instead of an output that breaks the step's contract."""
        step = await self.step_of(document)
        return ended if step is None else checked_output(step, ended)

    async def end(
        self, document: Document, ended: Ended, *, where: Mapping[str, Any] | None = None, **fields: Any
    ) -> bool:
        """False when the step does not wait any more, or is not as ``where`` says."""
        tenant_id, fault = document["tenant_id"], ended.error
        place = values_place_of(tenant_id, document["execution_id"])
        output = None if ended.output is None else await self._values.put(place, ended.output)
        told = {"type": fault.type, "message": fault.message, "path": document["path"]} if fault else None
        outcome = Failed(JobError(fault.type, fault.message)) if fault else Finished()
        kept = {**fields, "output": output, "end": ended.end.value, "fault": told, "heard": False}
        try:
            await self._steps.conclude(tenant_id, document["_id"], where=where or {}, outcome=outcome, fields=kept)
        except JobNotSuspended:
            return False
        return True
