"""Failed tasks as their readers need them, and what a repeatable request has decided to re-drive."""

from datetime import datetime, timedelta
from typing import Any

from app.clock import Clock
from app.database.documents import Document, Documents, Sort
from app.database.errors import DuplicateDocument
from app.database.indexes import Index
from app.deadletters.models import DeadLetterQuery, Failure, Plan
from app.http.idempotency import LIFETIME
from app.http.pagination import MOST_COUNTED, Cursor
from app.jobs.models import DRY_RUN, Status
from app.tasks.models import COLLECTION as TASKS

REDRIVES = "redrives"
# Partial, so that tasks which go well pay nothing for it.
_FAILED = {"partialFilterExpression": {"status": Status.FAILED.value}}
_BY_END = (("completed_at", -1), ("_id", -1))
INDEXES = (
    Index(TASKS, (("tenant_id", 1), *_BY_END), _FAILED),
    Index(TASKS, (("tenant_id", 1), ("error.type", 1), *_BY_END), _FAILED),
    Index(REDRIVES, (("expires_at", 1),), {"expireAfterSeconds": 0}),
)
NEWEST_FAILURE_FIRST: Sort = _BY_END
OLDEST_FAILURE_FIRST: Sort = (("completed_at", 1), ("_id", 1))
FIELDS = (
    "status",
    "error",
    "attempt",
    "max_attempts",
    "created_at",
    "completed_at",
    "selected_agent",
    "requested_agent",
    "agent_type",
    "session_id",
    "history",
)
# A plan outlives the key that leads to it.
PLAN_LIFETIME = LIFETIME + timedelta(hours=1)


class DeadLetterRepository:
    def __init__(self, tasks: Documents, redrives: Documents, *, clock: Clock) -> None:
        self._tasks = tasks
        self._redrives = redrives
        self._clock = clock

    async def list_page(
        self,
        tenant_id: str,
        query: DeadLetterQuery,
        *,
        agent_name: str | None,
        limit: int,
        skip: int = 0,
        after: Cursor | None = None,
    ) -> list[Document]:
        """Newest failure first, from ``skip`` or from just behind ``after``.

        ``agent_name`` is the agent of the query's type: a task whose client chose the agent knows no type until it
        has completed.
        """
        where = _where(query, agent_name)
        if after is not None:
            where = {"$and": [where, _before(after)]}
        return await self._tasks.of_tenant(tenant_id).find_many(
            where, limit=limit, skip=skip, sort=NEWEST_FAILURE_FIRST, fields=FIELDS
        )

    async def count(self, tenant_id: str, query: DeadLetterQuery, *, agent_name: str | None) -> int:
        return await self._tasks.of_tenant(tenant_id).count(_where(query, agent_name), limit=MOST_COUNTED)

    async def list_oldest(
        self, tenant_id: str, query: DeadLetterQuery, *, agent_name: str | None, limit: int
    ) -> list[Failure]:
        found = await self._tasks.of_tenant(tenant_id).find_many(
            _where(query, agent_name), limit=limit, sort=OLDEST_FAILURE_FIRST, fields=("completed_at",)
        )
        return [Failure(one["_id"], one["completed_at"]) for one in found]

    async def find_plan(self, tenant_id: str, request: str) -> Plan | None:
        found = await self._redrives.of_tenant(tenant_id).find_one({"_id": request})
        if found is None:
            return None
        failures = tuple(Failure(one["task_id"], one["failed_at"]) for one in found["failures"])
        return Plan(request, failures, found["has_more"])

    async def keep_plan(self, tenant_id: str, plan: Plan) -> Plan:
        """The plan of this request: what was kept first stays."""
        document = {
            "_id": plan.request,
            "failures": [{"task_id": one.task_id, "failed_at": one.failed_at} for one in plan.failures],
            "has_more": plan.has_more,
            "expires_at": self._clock() + PLAN_LIFETIME,
        }
        try:
            await self._redrives.of_tenant(tenant_id).insert(document)
        except DuplicateDocument:
            return await self.find_plan(tenant_id, plan.request) or plan
        return plan


def _where(query: DeadLetterQuery, agent_name: str | None) -> dict[str, Any]:
    where: dict[str, Any] = {"status": Status.FAILED.value, DRY_RUN: None}
    if query.error_type is not None:
        where["error.type"] = query.error_type
    if query.agent_type is not None:
        where["$or"] = [{"agent_type": query.agent_type}]
        if agent_name is not None:
            where["$or"].append({"agent_type": None, "requested_agent": agent_name})
    if failed := _failed_between(query):
        where["completed_at"] = failed
    return where


def _failed_between(query: DeadLetterQuery) -> dict[str, datetime]:
    bounds = {"$gte": query.failed_after, "$lt": query.failed_before}
    return {operator: bound for operator, bound in bounds.items() if bound is not None}


def _before(position: Cursor) -> dict[str, Any]:
    # A cursor's time is that of the list it walks: here, when the task failed.
    return {
        "$or": [
            {"completed_at": {"$lt": position.created_at}},
            {"completed_at": position.created_at, "_id": {"$lt": position.id}},
        ]
    }
