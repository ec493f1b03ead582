"""Workers' hands for executions: what messages would have them do, without a broker, until nothing is left to do."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from app.bootstrap.execution import Execution
from app.ids import new_id, new_trace_id
from app.jobs.kind import Jobs
from app.jobs.models import Job, Status
from app.tasks.models import Caller
from app.workflows.executions.models import EXECUTIONS, STEPS, Fork, Request, WorkflowRef
from app.workflows.executions.service import new_execution
from app.workflows.executions.values import ValueStore, values_place_of
from tests.api.harness import Api, Json

PATIENCE = 60
POLL = 0.01
YAML = {"Content-Type": "application/yaml"}


@dataclass
class Hands:
    """``works`` is whether this worker may claim at this moment."""

    api: Api
    workers: list[Execution]
    tenant_id: str = "default"
    _busy: set["asyncio.Task[object]"] = field(default_factory=set)

    def __post_init__(self) -> None:
        for number, worker in enumerate(self.workers):
            worker.slots.identify_by(_named(f"w{number}"))

    async def begin(self, text: str, inputs: Json | None = None, *, fork: Fork | None = None) -> str:
        """Store the workflow and an execution of it; its id."""
        answer = await self.api.client.post("/v1/workflows", content=text.encode(), headers=YAML)
        assert answer.status_code in {200, 201}, answer.text
        workflow = WorkflowRef(*(answer.json()[name] for name in ("workflow_id", "name", "digest")))
        core = self.api.core
        execution_id = new_id()
        stored = await ValueStore(core.artifacts).put(values_place_of(self.tenant_id, execution_id), inputs or {})
        caller = Caller(self.tenant_id, "key", "request", new_trace_id())
        request = Request(workflow, inputs or {}, forked_from=fork)
        return (await core.executions.store.enqueue(new_execution(request, caller, execution_id, stored))).id

    async def run(self, text: str, inputs: Json | None = None) -> Job:
        return await self.go_on(await self.begin(text, inputs))

    async def go_on(self, execution_id: str, *, until: Callable[[Job], bool] | None = None) -> Job:
        """Work until the execution has ended, or waits for somebody; or until it is as wanted."""
        async with asyncio.timeout(PATIENCE):
            while True:
                job = await self.api.core.executions.store.get(execution_id)
                if until(job) if until else _rests(job):
                    return job
                await self.take_up()
                await asyncio.sleep(POLL)

    async def take_up(self) -> None:
        for kind, jobs in ((EXECUTIONS, self.api.core.executions), (STEPS, self.api.core.steps)):
            for number, job_id in enumerate(await _due(jobs)):
                chosen = number % len(self.workers)
                task = asyncio.create_task(self.workers[chosen].worked[kind].run(job_id, worker=f"w{chosen}"))
                self._busy.add(task)
                task.add_done_callback(self._busy.discard)

    async def rest(self) -> None:
        """Return when nothing is being worked on."""
        while self._busy:
            await asyncio.wait(self._busy)

    async def worker_run(self, execution_id: str) -> None:
        """What the message of an execution has the first worker do."""
        await self.workers[0].worked[EXECUTIONS].run(execution_id, worker="w0")

    async def outputs(self, execution: Job) -> Any:
        place = values_place_of(self.tenant_id, execution.id)
        return await ValueStore(self.api.core.artifacts).get(place, execution.document["outputs"])

    async def steps(self, execution_id: str) -> dict[str, Json]:
        """By path."""
        found = await self.api.core.steps.documents.find_many({"execution_id": execution_id}, limit=20_000)
        return {one["path"]: one for one in found}


async def _due(jobs: Jobs) -> list[str]:
    due = {"status": Status.QUEUED.value, "lane": {"$gt": ""}}
    return [one["_id"] for one in await jobs.documents.find_many(due, limit=500, fields=["_id"])]


def _rests(job: Job) -> bool:
    return job.status.is_final or (job.status is Status.AWAITING_APPROVAL and bool(job.document.get("idle_for")))


def _named(name: str) -> Callable[[], str]:
    return lambda: name
