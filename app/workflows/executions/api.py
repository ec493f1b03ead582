"""What the routes of executions need, in one value that `create_app` puts on the application."""

import asyncio
from dataclasses import dataclass
from datetime import timedelta

from app.clock import Clock
from app.database.documents import Document
from app.errors import Invalid
from app.events.signals import Signals
from app.identity.event_tokens import EventTokens
from app.jobs.broker import WORKFLOW_QUEUE
from app.jobs.models import Job
from app.jobs.workers import WorkerDirectory
from app.tasks.attempt_schemas import AttemptListResponse
from app.tasks.attempts import present_attempts
from app.workflows.definitions.repository import DefinitionRepository
from app.workflows.executions.answers import Answers
from app.workflows.executions.drawings import Drawings
from app.workflows.executions.events import ExecutionStream
from app.workflows.executions.listing import StepQuery
from app.workflows.executions.logs import LogLine, LogQuery, line_of
from app.workflows.executions.presentation import (
    present_accepted,
    present_execution,
    present_status,
    present_step,
    present_step_item,
    work_on_step,
)
from app.workflows.executions.repository import ExecutionRepository
from app.workflows.executions.schemas import (
    ExecutionAccepted,
    ExecutionResponse,
    ExecutionStatusResponse,
    StepListResponse,
    StepResponse,
)
from app.workflows.executions.service import Begun, ExecutionService
from app.workflows.executions.steering import Steering
from app.workflows.executions.timeline import Timeline
from app.workflows.executions.values import ValueStore, values_place_of
from app.workflows.executions.why import Facts, Why, explain

FIRST_STEPS = 100
# What one request looks through for lines that fit.
MOST_LOOKED_AT = 5000
LOOKED_AT_ONCE = 500


@dataclass(frozen=True, slots=True)
class ExecutionApi:
    executions: ExecutionService
    steering: Steering
    answers: Answers
    repository: ExecutionRepository
    definitions: DefinitionRepository
    timeline: Timeline
    drawings: Drawings
    values: ValueStore
    workers: WorkerDirectory
    signals: Signals
    event_tokens: EventTokens
    clock: Clock

    async def accepted(self, begun: Begun, *, wait: timedelta) -> ExecutionAccepted:
        execution = await self.executions.wait_for_end(begun.execution, wait) if wait else begun.execution
        whole = await self.show(execution) if wait and execution.status.is_final else None
        return present_accepted(execution, whole, waited=bool(wait))

    async def show(self, execution: Job) -> ExecutionResponse:
        """The whole execution with its first steps."""
        document, tenant_id = execution.document, execution.tenant_id
        pin, place = document["workflow"], values_place_of(tenant_id, execution.id)
        inputs, outputs, version, steps = await asyncio.gather(
            self.values.get(place, document["inputs"]),
            self.values.get(place, document["outputs"]),
            self.definitions.find_version(tenant_id, pin["name"], pin["digest"]),
            self.repository.list_steps(tenant_id, execution.id, StepQuery(), limit=FIRST_STEPS + 1),
        )
        return present_execution(
            execution,
            inputs=inputs,
            outputs=outputs,
            graph=version.contents.graph if version else {"nodes": [], "edges": []},
            steps=steps[:FIRST_STEPS],
            steps_next=_next_of(steps, FIRST_STEPS),
        )

    async def list_steps(
        self, tenant_id: str, execution_id: str, query: StepQuery, *, limit: int, cursor: str | None
    ) -> StepListResponse:
        await self.executions.get_progress(tenant_id, execution_id)
        after = _place_of(cursor)
        found = await self.repository.list_steps(tenant_id, execution_id, query, limit=limit + 1, after=after)
        items = [present_step_item(step) for step in found[:limit]]
        return StepListResponse(items=items, next_cursor=_next_of(found, limit))

    async def show_step(
        self, tenant_id: str, execution_id: str, path: str, *, series: int | None = None
    ) -> StepResponse:
        execution = await self.executions.get_progress(tenant_id, execution_id)
        step = await self.repository.get_step(execution, path, series=series)
        place = values_place_of(tenant_id, execution_id)
        given, output = await asyncio.gather(
            self.values.get(place, step["input"]), self.values.get(place, step["output"])
        )
        return present_step(step, given=given, output=output)

    async def list_attempts(
        self, tenant_id: str, execution_id: str, path: str, *, after: int, limit: int
    ) -> AttemptListResponse:
        step = await self.repository.get_step(await self.executions.get_progress(tenant_id, execution_id), path)
        return present_attempts(step, work_on_step(step), after=after, limit=limit)

    async def show_status(self, tenant_id: str, execution_id: str) -> ExecutionStatusResponse:
        execution = await self.executions.get_progress(tenant_id, execution_id)
        return present_status(execution, await self._open_steps(execution))

    async def list_lines(
        self, tenant_id: str, execution_id: str, query: LogQuery, *, after: int, limit: int
    ) -> tuple[list[LogLine], int | None]:
        """Lines behind a place, and the place that the next ones are behind; None when there are none so far."""
        execution = await self.executions.get_progress(tenant_id, execution_id)
        lines: list[LogLine] = []
        for _ in range(MOST_LOOKED_AT // LOOKED_AT_ONCE):
            found = await self.timeline.list_after(execution, after, limit=LOOKED_AT_ONCE)
            for occurrence in found:
                after, line = occurrence.seq, line_of(occurrence)
                if query.takes(line):
                    lines.append(line)
                if len(lines) == limit:
                    return lines, after
            if len(found) < LOOKED_AT_ONCE:
                return lines, None
        return lines, after

    async def explain(self, tenant_id: str, execution_id: str) -> tuple[Job, Why]:
        execution = await self.executions.get_progress(tenant_id, execution_id)
        workers, open_steps = await asyncio.gather(
            self.workers.list_live(queue=WORKFLOW_QUEUE), self._open_steps(execution)
        )
        facts = Facts(
            now=self.clock(),
            live_workers=len(workers),
            free_slots=sum(max(one["slots"] - one["in_flight"], 0) for one in workers),
            open_steps=open_steps,
        )
        return execution, explain(execution, facts)

    def stream(self, execution: Job) -> ExecutionStream:
        return ExecutionStream(
            execution.id,
            lambda: self.repository.get_progress(execution.tenant_id, execution.id),
            self.timeline,
            self.signals,
        )

    async def _open_steps(self, execution: Job) -> list[Document]:
        if execution.status.is_final:
            return []
        return await self.repository.list_open(execution.tenant_id, execution.id)


def _next_of(steps: list[Document], limit: int) -> str | None:
    return str(steps[limit - 1]["seq"]) if len(steps) > limit else None


def _place_of(cursor: str | None) -> int:
    if cursor is None:
        return 0
    if not cursor.isascii() or not cursor.isdigit() or len(cursor) > 9:
        raise Invalid("this is no cursor of ours; use next_cursor of the last answer", field="cursor")
    return int(cursor)
