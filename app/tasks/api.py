"""What the task routes need, in one value that `create_app` puts on the application."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from app.clock import Clock
from app.database.documents import Document
from app.errors import Invalid
from app.events.live import LiveLog
from app.events.signals import Signals
from app.identity.event_tokens import EventTokens
from app.jobs.broker import EVALUATION_QUEUE, TASK_QUEUE
from app.jobs.models import Status
from app.jobs.workers import WorkerDirectory
from app.llm.circuits import Circuit, CircuitKey
from app.tasks.models import is_to_be_evaluated
from app.tasks.repository import TaskRepository
from app.tasks.service import TaskService
from app.tasks.why import MOST_AHEAD, Facts, Why, circuit_waited_for, explain


@dataclass(frozen=True, slots=True)
class TaskApi:
    tasks: TaskService
    repository: TaskRepository
    workers: WorkerDirectory
    signals: Signals
    live: LiveLog
    event_tokens: EventTokens
    measure_depth: Callable[[], Awaitable[int | None]]
    find_circuit: Callable[[CircuitKey], Awaitable[Circuit | None]]
    clock: Clock
    max_task_bytes: int

    def check_length(self, text: str) -> None:
        size = len(text.encode())
        if size > self.max_task_bytes:
            raise Invalid(f"the task has {size} bytes; at most {self.max_task_bytes} are accepted", field="task")

    async def explain(self, tenant_id: str, task_id: str) -> tuple[Document, Why]:
        task = await self.tasks.get(tenant_id, task_id)
        return task, explain(task, await self._gather_facts(task))

    async def _gather_facts(self, task: Document) -> Facts:
        queue = EVALUATION_QUEUE if is_to_be_evaluated(task) else TASK_QUEUE
        workers, ahead, depth, circuit = await asyncio.gather(
            self.workers.list_live(queue=queue), self._count_ahead(task), self.measure_depth(), self._find_circuit(task)
        )
        return Facts(
            now=self.clock(),
            queue=queue,
            live_workers=len(workers),
            free_slots=sum(max(one["slots"] - one["in_flight"], 0) for one in workers),
            ahead=ahead,
            queue_length=depth,
            circuit=circuit,
        )

    async def _find_circuit(self, task: Document) -> Circuit | None:
        refused_by = circuit_waited_for(task)
        return None if refused_by is None else await self.find_circuit(refused_by)

    async def _count_ahead(self, task: Document) -> int:
        if task["status"] != Status.QUEUED:
            return 0
        return await self.repository.count_ahead(task, limit=MOST_AHEAD)
