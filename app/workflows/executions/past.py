"""Past steps, for trying out policies: each is shown as it was before its first attempt."""

import asyncio
import contextlib
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from app.agents.registry import AgentNotFound, Registry
from app.artifacts.store import ArtifactNotFound
from app.database.documents import NEWEST_FIRST, Document, Documents
from app.errors import NotFound
from app.governance.policy.facts import FACTS, Facts, time_facts
from app.governance.policy.models import FactKind
from app.governance.policy.service import PastWork
from app.governance.scoring.scorer import Scorer
from app.workflows.executions.plans import PlanSource
from app.workflows.executions.repository import BY_SEQ
from app.workflows.executions.values import ValueStore, values_place_of
from app.workflows.places import Passed, way_to
from app.workflows.scoring.steps import work_of_step
from app.workflows.steps.policy_facts import Whose, facts_of_step

_INPUT = "step.input"
# What policies are asked about: the others compute, wait, or hold steps.
_KINDS = ["agent", "task", "command", "evaluate"]
# Executions that are looked at, however few steps are wanted: some have none that count.
_LEAST = 100
_FIELDS = (
    "tenant_id",
    "execution_id",
    "workflow",
    "path",
    "kind",
    "agent",
    "cases",
    "input",
    "created_by",
    "created_at",
)


class StepHistory:
    def __init__(
        self,
        executions: Documents,
        steps: Documents,
        values: ValueStore,
        plans: PlanSource,
        registry: Registry,
        scorer: Scorer,
    ) -> None:
        self._executions = executions
        self._steps = steps
        self._values = values
        self._plans = plans
        self._registry = registry
        self._scorer = scorer

    async def __call__(
        self, tenant_id: str, *, since: datetime | None, until: datetime | None, limit: int
    ) -> Sequence[PastWork]:
        """Those of the executions that were started then, newest execution first.

        An execution is shown whole, but for one that has more than ``limit`` steps by itself.
        """
        bounds = {name: bound for name, bound in (("$gte", since), ("$lt", until)) if bound is not None}
        started = await self._executions.of_tenant(tenant_id).find_many(
            {"created_at": bounds} if bounds else {},
            limit=max(limit, _LEAST),
            sort=NEWEST_FIRST,
            fields=("created_at",),
        )
        found: list[PastWork] = []
        for execution in started:
            steps = await self._steps_of(tenant_id, execution["_id"], limit=limit + 1)
            if found and len(found) + len(steps) > limit:
                break
            found += [await self._past(step, execution["created_at"]) for step in steps[:limit]]
        return found

    async def _steps_of(self, tenant_id: str, execution_id: str, *, limit: int) -> list[Document]:
        where = {"execution_id": execution_id, "kind": {"$in": _KINDS}, "reused_from": None, "input": {"$ne": None}}
        return await self._steps.of_tenant(tenant_id).find_many(where, limit=limit, sort=BY_SEQ, fields=_FIELDS)

    async def _past(self, step: Document, started_at: datetime) -> PastWork:
        pin, path = step["workflow"], step["path"]
        whose = Whose(step["tenant_id"], step["execution_id"], pin["name"], step.get("created_by") or "")
        way, given = await self._way_to(step), await self._given(step)
        agent = (way[-1].step.agent if way else step["agent"] if step["kind"] == "agent" else None) or ""
        values = facts_of_step(whose, step["kind"], agent, path, given or {}, attempt=1, costs=[])
        if given is None:
            del values[_INPUT]
        elif way:
            values.update(await asyncio.to_thread(self._scores, way, given))
        facts = Facts.of(FactKind.STEP, {**values, **time_facts(step["created_at"])})
        ids = {"execution_id": step["execution_id"], "path": path}
        return PastWork(step["_id"], started_at, facts, ids)

    async def _way_to(self, step: Document) -> list[Passed]:
        """None for a workflow that was deleted since."""
        pin = step["workflow"]
        with contextlib.suppress(NotFound):
            plan = await self._plans.get(step["tenant_id"], pin["name"], pin["digest"])
            return way_to(plan, step["path"], step.get("cases") or ())
        return []

    async def _given(self, step: Document) -> Mapping[str, Any] | None:
        """None for what is gone by now, or too large for a policy to be shown."""
        stored = step["input"]
        if stored.get("size", 0) > FACTS[_INPUT].largest:
            return None
        with contextlib.suppress(ArtifactNotFound):
            return dict(await self._values.get(values_place_of(step["tenant_id"], step["execution_id"]), stored) or {})
        return None

    def _scores(self, way: list[Passed], given: Mapping[str, Any]) -> Mapping[str, Any]:
        # One whose agent has left is as if it had never been scored.
        with contextlib.suppress(AgentNotFound):
            return self._scorer.score(work_of_step(way, given, self._registry)).as_facts()
        return {}
