"""The use case of scoring work that is not begun, and perhaps never is."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any

from app.agents.registry import Registry
from app.errors import Invalid
from app.governance.budgets.models import NOTHING, Amounts
from app.governance.scoring.models import Scores, ScoringSubject, Work
from app.governance.scoring.scorer import Scorer
from app.workflows.definitions.models import WorkflowNotFound
from app.workflows.definitions.repository import DefinitionRepository
from app.workflows.executions.models import StepNotFound
from app.workflows.executions.plans import PlanSource
from app.workflows.places import Passed, way_to
from app.workflows.scoring.steps import HOLDERS, as_written, work_of_step


@dataclass(frozen=True, slots=True)
class Terms:
    """Under which the work is to be done; they come before what a step says of itself."""

    limits: Amounts = field(default_factory=lambda: NOTHING)
    deadline: timedelta | None = None


class ScoringService:
    """Scores in threads: a text may have a quarter of a megabyte, and others wait for this process."""

    def __init__(
        self, scorer: Scorer, definitions: DefinitionRepository, plans: PlanSource, registry: Registry
    ) -> None:
        self._scorer = scorer
        self._definitions = definitions
        self._plans = plans
        self._registry = registry

    async def score_task(self, text: str, inputs: Mapping[str, Any], terms: Terms, *, agent: str | None) -> Scores:
        """Raises `AgentNotFound`."""
        named = self._registry.get_agent(agent).name if agent is not None else None
        subject = ScoringSubject(text, inputs, is_named=agent is not None, limits=terms.limits, deadline=terms.deadline)
        return await asyncio.to_thread(self._scorer.score, Work(subject, named))

    async def score_step(
        self, tenant_id: str, reference: str, path: str, given: Mapping[str, Any] | None, terms: Terms
    ) -> Scores:
        """Of the current version. Raises `WorkflowNotFound`, `StepNotFound`, `AgentNotFound`, and `Invalid` for a step
        that only holds others."""
        way = await self._way(tenant_id, reference, path)
        kind = way[-1].step.kind
        if kind in HOLDERS:
            raise Invalid(f"the step {path!r} is a {kind}, which only holds steps; score those", field="step")
        written = as_written(way[-1].step)
        work = work_of_step(way, written if given is None else {**written, "with": given}, self._registry)
        subject = replace(
            work.subject,
            limits={**work.subject.limits, **terms.limits},
            deadline=terms.deadline or work.subject.deadline,
        )
        return await asyncio.to_thread(self._scorer.score, replace(work, subject=subject))

    async def _way(self, tenant_id: str, reference: str, path: str) -> list[Passed]:
        workflow = await self._definitions.find(tenant_id, reference)
        if workflow is None:
            raise WorkflowNotFound(f"no workflow {reference!r}", reference=reference)
        plan = await self._plans.get(tenant_id, workflow.name, workflow.digest)
        way = way_to(plan, path)
        if not way:
            raise StepNotFound(f"the workflow {workflow.name!r} has no step {path[:200]!r}", name=workflow.name)
        return way
