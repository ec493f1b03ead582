"""What policies are told of tasks: the same while they run and long afterwards."""

import asyncio
import contextlib
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from app.agents.registry import AgentNotFound
from app.database.documents import NEWEST_FIRST, Document, Documents
from app.governance.approvals.models import ApprovalSubject, SubjectKind
from app.governance.policy.facts import Facts, time_facts
from app.governance.policy.models import FactKind
from app.governance.policy.service import PastWork
from app.governance.scoring.scorer import Scorer
from app.jobs.models import DRY_RUN, Job
from app.tasks.clarification import clarified_text
from app.tasks.inputs import read_inputs
from app.tasks.models import agent_of
from app.tasks.policy import Question, series_of
from app.tasks.scores import work_of_task

_FIELDS = (
    "tenant_id", "session_id", "input_text", "clarifications", "priority", "requested_agent", "selected_agent",
    "inputs", "metadata", "cost", "created_by", "created_at", "budget", "deadline_at",
)  # fmt: skip


def facts_of_task(task: Mapping[str, Any], *, agent: str, attempt: int) -> dict[str, Any]:
    """By name. What it came to are all of its attempts so far."""
    text = clarified_text(task)
    return {
        "task.id": task["_id"],
        "task.text": text,
        "task.text_length": len(text),
        "task.priority": task["priority"],
        "task.attempt": attempt,
        "task.session_id": task["session_id"],
        "task.requested_agent": task["requested_agent"] or "",
        "task.inputs": sorted(read_inputs(task)),
        "task.metadata": dict(task["metadata"]),
        "agent.name": agent,
        "scores.available": False,
        "tenant.id": task["tenant_id"],
        "caller.key_id": task.get("created_by") or "",
        **spend_facts([task["cost"] or {}]),
    }


def question_of_task(job: Job, agent: str) -> Question:
    """What is asked before an agent begins with a task; approvers may change its text."""
    task = job.document
    values = facts_of_task(task, agent=agent, attempt=job.attempt)
    subject = ApprovalSubject(
        SubjectKind.TASK,
        f"{job.id}:{series_of(task)}",
        f"{agent} works on a task",
        {"task_id": job.id},
        input=clarified_text(task),
    )
    work = work_of_task(task, agent)
    return Question(FactKind.TASK, job.tenant_id, values, subject, values["caller.key_id"], work)


def spend_facts(costs: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Of what tasks, or attempts at steps, have noted as their cost."""
    return {
        "spend.usd": float(sum(cost.get("usd_estimate", cost.get("usd", 0.0)) for cost in costs)),
        "spend.tokens": int(sum(cost.get("total_tokens", cost.get("tokens", 0)) for cost in costs)),
        "spend.model_calls": int(sum(cost.get("model_calls", 0) for cost in costs)),
    }


class TaskHistory:
    """Past tasks, for trying out policies. Each is shown as it was before its first attempt, but for the agent."""

    def __init__(self, tasks: Documents, scorer: Scorer) -> None:
        self._tasks = tasks
        self._scorer = scorer

    async def __call__(
        self, tenant_id: str, *, since: datetime | None, until: datetime | None, limit: int
    ) -> Sequence[PastWork]:
        bounds = {name: bound for name, bound in (("$gte", since), ("$lt", until)) if bound is not None}
        where = {DRY_RUN: None, "selected_agent": {"$ne": None}, **({"created_at": bounds} if bounds else {})}
        found = await self._tasks.of_tenant(tenant_id).find_many(where, limit=limit, sort=NEWEST_FIRST, fields=_FIELDS)
        return await asyncio.to_thread(lambda: [self._past(task) for task in found])

    def _past(self, task: Document) -> PastWork:
        agent = agent_of(task) or ""
        values = facts_of_task({**task, "cost": None}, agent=agent, attempt=1)
        # One whose agent has left is as if it had never been scored.
        with contextlib.suppress(AgentNotFound):
            values.update(self._scorer.score(work_of_task(task, agent)).as_facts())
        facts = Facts.of(FactKind.TASK, {**values, **time_facts(task["created_at"])})
        return PastWork(task["_id"], task["created_at"], facts, {"task_id": task["_id"]})
