"""The use cases of dead letters: list, read, re-drive one or many."""

import asyncio
from dataclasses import dataclass

from app.agents.registry import Registry
from app.database.documents import Document
from app.deadletters.models import DeadLetterNotFound, DeadLetterQuery, Failure, Plan
from app.deadletters.repository import DeadLetterRepository
from app.errors import Invalid
from app.http.idempotency import Idempotency
from app.http.pagination import Page, PageParams
from app.ids import new_id
from app.jobs.models import Status
from app.tasks.models import agent_of
from app.tasks.service import TaskService

REDRIVE_ROUTE = "POST /v1/dead-letters/redrive"
MOST_REDRIVEN = 500
AT_ONCE = 20


@dataclass(frozen=True, slots=True)
class Redriven:
    """What one request has queued again; ``is_replay`` when an earlier request with its key had decided that."""

    task_ids: list[str]
    has_more: bool
    is_replay: bool = False


class DeadLetterService:
    def __init__(
        self, repository: DeadLetterRepository, tasks: TaskService, *, registry: Registry, idempotency: Idempotency
    ) -> None:
        self._repository = repository
        self._tasks = tasks
        self._registry = registry
        self._idempotency = idempotency

    async def list_page(self, tenant_id: str, query: DeadLetterQuery, params: PageParams) -> Page[Document]:
        name = self._agent_name(query)
        found, total = await asyncio.gather(
            self._repository.list_page(
                tenant_id,
                query,
                agent_name=name,
                limit=params.page_size + 1,
                skip=params.skip,
                after=params.after,
            ),
            self._repository.count(tenant_id, query, agent_name=name),
        )
        return Page.of(found, params, total=total)

    async def get(self, tenant_id: str, task_id: str) -> Document:
        task = await self._tasks.get(tenant_id, task_id)
        if task["status"] != Status.FAILED:
            raise _no_dead_letter(task)
        return task

    async def redrive(self, tenant_id: str, task_id: str, *, idempotency_key: str | None = None) -> Document:
        """Queue one again as a new series of attempts; the same key does it once only."""
        task = await self._tasks.get(tenant_id, task_id)
        if task["status"] == Status.CANCELLED:
            raise _no_dead_letter(task)
        return await self._tasks.retry(tenant_id, task_id, idempotency_key=idempotency_key)

    async def redrive_many(
        self, tenant_id: str, query: DeadLetterQuery, *, limit: int, everything: bool, idempotency_key: str | None
    ) -> Redriven:
        """Queue the oldest failures that match again. A crash in between is made good by repeating it with its key."""
        if query.is_everything and not everything:
            raise Invalid("give a filter, or `all: true` to re-drive every dead letter", field="all")
        request = new_id()
        kept = None
        if idempotency_key is not None:
            body = {**query.as_json(), "limit": limit, "all": everything}
            request = await self._idempotency.reserve(
                idempotency_key, tenant_id=tenant_id, route=REDRIVE_ROUTE, body=body, work_id=request
            )
            kept = await self._repository.find_plan(tenant_id, request)
        plan = kept or await self._plan(tenant_id, query, request=request, limit=limit)
        if idempotency_key is not None and kept is None:
            # Before anything is done, so that a repetition does the same and not more.
            plan = await self._repository.keep_plan(tenant_id, plan)
        return Redriven(await self._carry_out(tenant_id, plan), plan.has_more, is_replay=kept is not None)

    async def _plan(self, tenant_id: str, query: DeadLetterQuery, *, request: str, limit: int) -> Plan:
        found = await self._repository.list_oldest(
            tenant_id, query, agent_name=self._agent_name(query), limit=limit + 1
        )
        return Plan(request, tuple(found[:limit]), has_more=len(found) > limit)

    async def _carry_out(self, tenant_id: str, plan: Plan) -> list[str]:
        places = asyncio.Semaphore(AT_ONCE)

        async def queue_again(failure: Failure) -> bool:
            async with places:
                return await self._tasks.begin_again(
                    tenant_id, failure.task_id, request=plan.request, ended_at=failure.failed_at
                )

        done = await asyncio.gather(*(queue_again(failure) for failure in plan.failures))
        return [failure.task_id for failure, begun in zip(plan.failures, done, strict=True) if begun]

    def agent_type_of(self, task: Document) -> str | None:
        """Also of a task whose client chose the agent: it is not routed, and knows its type once it has completed."""
        chosen = (spec.agent_type for spec in self._registry.list_agents() if spec.name == agent_of(task))
        return task["agent_type"] or next(chosen, None)

    def _agent_name(self, query: DeadLetterQuery) -> str | None:
        spec = self._registry.find_by_type(query.agent_type) if query.agent_type else None
        return spec.name if spec else None


def _no_dead_letter(task: Document) -> DeadLetterNotFound:
    return DeadLetterNotFound(
        f"task {task['_id']} is {task['status']}; only a failed task is a dead letter", status=task["status"]
    )
