"""The use cases of executions that begin or read one: start, fork, get, list, wait."""

import asyncio
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from datetime import timedelta
from typing import Any

from app.database.errors import DuplicateDocument
from app.errors import Invalid, Unavailable
from app.events.signals import Signals
from app.http.idempotency import Idempotency
from app.http.pagination import Page, PageParams
from app.ids import is_id, new_id
from app.jobs.kind import Jobs
from app.jobs.models import Job, NewJob
from app.tasks.admission import Admission
from app.tasks.models import Caller
from app.workflows.definitions.models import WorkflowNotFound
from app.workflows.definitions.repository import DefinitionRepository
from app.workflows.executions.listing import ExecutionQuery
from app.workflows.executions.models import (
    FIRST_SERIES,
    ExecutionNotFound,
    Fork,
    Request,
    WorkflowRef,
    status_of,
)
from app.workflows.executions.plans import Plans
from app.workflows.executions.repository import ExecutionRepository
from app.workflows.executions.values import ValueStore, values_place_of
from app.workflows.handover import checked_inputs

# It is claimed once for each time it has something to do; only attempts that end without a word count.
MOST_ATTEMPTS = 25
NO_COST: Mapping[str, float] = {
    "usd": 0.0, "prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0, "model_calls": 0
}  # fmt: skip
NO_PROGRESS: Mapping[str, float] = {"total": 0, "ended": 0, "failed": 0, "percent": 0.0}


@dataclass(frozen=True, slots=True)
class Begun:
    """An execution that is stored; ``replayed`` when an earlier request with the same key had stored it."""

    execution: Job
    replayed: bool = False


@dataclass(frozen=True, slots=True)
class ForkWish:
    """``inputs`` are merged over those of the execution that is forked."""

    step: str
    inputs: Mapping[str, Any]
    accepts_changes: bool = False


class ExecutionService:
    def __init__(
        self,
        jobs: Jobs,
        repository: ExecutionRepository,
        definitions: DefinitionRepository,
        plans: Plans,
        values: ValueStore,
        *,
        idempotency: Idempotency,
        admission: Admission,
        signals: Signals,
    ) -> None:
        self._jobs = jobs
        self._repository = repository
        self._definitions = definitions
        self._plans = plans
        self._values = values
        self._idempotency = idempotency
        self._admission = admission
        self._signals = signals

    async def start(
        self,
        caller: Caller,
        reference: str,
        inputs: Mapping[str, Any],
        *,
        metadata: Mapping[str, Any],
        digest: str | None = None,
        idempotency_key: str | None = None,
    ) -> Begun:
        """Store an execution and ring for a worker. Once this returns it will end in a final state.

        Raises `WorkflowNotFound`, and `WorkflowInputInvalid` with all that does not fit.
        """
        workflow = await self._workflow(caller.tenant_id, reference, digest)
        checked = await self._checked(caller.tenant_id, workflow, inputs)
        body = {"version": digest, "input_data": dict(inputs), "metadata": dict(metadata)}
        route = f"POST /v1/workflows/{reference}/execute"
        return await self._begin(caller, Request(workflow, checked, metadata), route, body, idempotency_key)

    async def fork(
        self, caller: Caller, execution_id: str, wish: ForkWish, *, idempotency_key: str | None = None
    ) -> Begun:
        """A new execution that takes over what ended before a step of this one, and carries out the rest itself."""
        origin = await self.get(caller.tenant_id, execution_id)
        workflow = WorkflowRef(**origin.document["workflow"])
        if wish.accepts_changes:
            workflow = await self._workflow(caller.tenant_id, workflow.id, None)
        plan = await self._plans.get(caller.tenant_id, workflow.name, workflow.digest)
        if wish.step not in plan.workflow.steps:
            message = f"the workflow has no step {wish.step[:100]!r}; it has {', '.join(plan.workflow.steps)}"
            raise Invalid(message, field="from")
        given = await self._values.get(values_place_of(caller.tenant_id, execution_id), origin.document["inputs"])
        checked = await self._checked(caller.tenant_id, workflow, {**given, **wish.inputs})
        request = Request(workflow, checked, origin.document["metadata"], Fork(execution_id, wish.step))
        body = {"from": wish.step, "input_data": dict(wish.inputs), "accept_changes": wish.accepts_changes}
        return await self._begin(caller, request, f"POST /v1/executions/{execution_id}/fork", body, idempotency_key)

    async def get(self, tenant_id: str, execution_id: str, *, wait: timedelta | None = None) -> Job:
        """The execution, at once or after its next change of status. Raises `ExecutionNotFound`."""
        check_id(execution_id)
        execution = await self._repository.get(tenant_id, execution_id)
        if wait is None or execution.status.is_final:
            return execution
        seen = status_of(execution)
        return await self._until(execution, lambda now: status_of(now) != seen, at_most=wait)

    async def get_progress(self, tenant_id: str, execution_id: str) -> Job:
        """Without what it was given and gives. Raises `ExecutionNotFound`."""
        check_id(execution_id)
        return await self._repository.get_progress(tenant_id, execution_id)

    async def wait_for_end(self, execution: Job, at_most: timedelta) -> Job:
        """The execution when it has ended, or as it is when the time is over."""
        try:
            return await self._until(execution, lambda now: now.status.is_final, at_most=at_most)
        except Unavailable:
            # It was accepted. An error now would make the client start a second one.
            return execution

    async def list_page(self, tenant_id: str, query: ExecutionQuery, params: PageParams) -> Page[Job]:
        found, total = await asyncio.gather(
            self._repository.list_page(
                tenant_id, query, limit=params.page_size + 1, skip=params.skip, after=params.after
            ),
            self._repository.count(tenant_id, query),
        )
        return Page.of(found, params, total=total)

    async def _workflow(self, tenant_id: str, reference: str, digest: str | None) -> WorkflowRef:
        found = await self._definitions.find(tenant_id, reference)
        if found is None:
            raise WorkflowNotFound(f"no workflow {reference!r}", reference=reference)
        return WorkflowRef(found.id, found.name, digest or found.digest)

    async def _checked(self, tenant_id: str, workflow: WorkflowRef, inputs: Mapping[str, Any]) -> dict[str, Any]:
        plan = await self._plans.get(tenant_id, workflow.name, workflow.digest)
        return checked_inputs(plan.workflow, inputs)

    async def _begin(self, caller: Caller, request: Request, route: str, body: Any, key: str | None) -> Begun:
        execution_id = new_id()
        if key is not None:
            execution_id = await self._idempotency.reserve(
                key, tenant_id=caller.tenant_id, route=route, body=body, work_id=execution_id
            )
            if earlier := await self._repository.find(caller.tenant_id, execution_id):
                return Begun(earlier, replayed=True)
        await self._admission.admit(caller.tenant_id)
        inputs = await self._values.put(values_place_of(caller.tenant_id, execution_id), dict(request.inputs))
        try:
            execution = await self._jobs.store.enqueue(new_execution(request, caller, execution_id, inputs))
        except DuplicateDocument:
            return Begun(await self._repository.get(caller.tenant_id, execution_id), replayed=True)
        self._jobs.bell.ring(execution.id)
        return Begun(execution)

    async def _until(self, execution: Job, condition: Callable[[Job], bool], *, at_most: timedelta) -> Job:
        tenant_id, ends_at = execution.tenant_id, time.monotonic() + at_most.total_seconds()
        # Listening begins before the first look, so that no change falls between the two.
        with self._signals.waiting_for(execution.id) as waiter:
            while True:
                progress = await self._repository.get_progress(tenant_id, execution.id)
                remaining = ends_at - time.monotonic()
                if condition(progress) or remaining <= 0 or waiter.must_end:
                    return await self._repository.get(tenant_id, execution.id)
                await waiter.wait(timedelta(seconds=remaining))


def new_execution(request: Request, caller: Caller, execution_id: str, inputs: Mapping[str, Any]) -> NewJob:
    """The job that stands for an execution; ``inputs`` as they are stored."""
    return NewJob(
        id=execution_id,
        tenant_id=caller.tenant_id,
        max_attempts=MOST_ATTEMPTS,
        trace_id=caller.trace_id,
        fields={
            "workflow": asdict(request.workflow),
            "inputs": dict(inputs),
            "outputs": None,
            "fault": None,
            "series": FIRST_SERIES,
            "forked_from": asdict(request.forked_from) if request.forked_from else None,
            "metadata": dict(request.metadata),
            "begun_at": None,
            "paused_at": None,
            "paused_by": None,
            "cancel_wanted": None,
            "idle_for": None,
            "progress": dict(NO_PROGRESS),
            "cost": dict(NO_COST),
            "log": [],
            "last_seq": 0,
            "request_id": caller.request_id,
            "created_by": caller.key_id,
            "retried_by": None,
            "retry_request": None,
        },
    )


def check_id(execution_id: str) -> None:
    """Raises `ExecutionNotFound` for what cannot be the id of one."""
    if not is_id(execution_id):
        short = execution_id[:64]
        raise ExecutionNotFound(f"no execution {short!r}: its id is a UUID in lower case", execution_id=short)
