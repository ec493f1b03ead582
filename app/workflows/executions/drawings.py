"""Pictures of stored workflows, and of executions with how their steps ended."""

import asyncio
from collections.abc import Callable, Mapping
from enum import StrEnum

from app.jobs.models import Job
from app.workflows.definitions.models import WorkflowNotFound
from app.workflows.definitions.repository import DefinitionRepository
from app.workflows.diagram.boxes import RUNNING, WAITING
from app.workflows.diagram.mermaid import mermaid_of
from app.workflows.diagram.svg import svg_of
from app.workflows.executions.listing import StepStatus, status_of_step
from app.workflows.executions.plans import Plans
from app.workflows.executions.repository import ExecutionRepository
from app.workflows.plan import Plan

_STATES = {
    StepStatus.QUEUED: RUNNING,
    StepStatus.PROCESSING: RUNNING,
    StepStatus.WAITING: WAITING,
    StepStatus.AWAITING_APPROVAL: WAITING,
}


class DrawingFormat(StrEnum):
    MERMAID = "mermaid"
    SVG = "svg"

    @property
    def media_type(self) -> str:
        return "image/svg+xml" if self is DrawingFormat.SVG else "text/vnd.mermaid"


_DRAW: Mapping[DrawingFormat, Callable[[Plan, Mapping[str, str]], str]] = {
    DrawingFormat.MERMAID: mermaid_of,
    DrawingFormat.SVG: svg_of,
}


class Drawings:
    def __init__(self, plans: Plans, definitions: DefinitionRepository, repository: ExecutionRepository) -> None:
        self._plans = plans
        self._definitions = definitions
        self._repository = repository

    async def of_workflow(
        self, tenant_id: str, reference: str, form: DrawingFormat, *, digest: str | None = None
    ) -> str:
        """Of the current version, or the one with that digest. Raises `WorkflowNotFound`."""
        found = await self._definitions.find(tenant_id, reference)
        if found is None:
            raise WorkflowNotFound(f"no workflow {reference!r}", reference=reference)
        return await self._draw(tenant_id, found.name, digest or found.digest, {}, form)

    async def of_execution(self, execution: Job, form: DrawingFormat) -> str:
        pin = execution.document["workflow"]
        steps = await self._repository.list_single(execution.tenant_id, execution.id)
        states = {step["path"]: _state(status_of_step(step)) for step in steps}
        return await self._draw(execution.tenant_id, pin["name"], pin["digest"], states, form)

    async def _draw(
        self, tenant_id: str, name: str, digest: str, states: Mapping[str, str], form: DrawingFormat
    ) -> str:
        plan = await self._plans.get(tenant_id, name, digest)
        # A large one takes a while, in which other requests go on.
        return await asyncio.to_thread(_DRAW[form], plan, states)


def _state(status: StepStatus) -> str:
    return _STATES.get(status, status.value)
