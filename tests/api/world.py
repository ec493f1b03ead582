"""The API, one worker's kernel and a simulator over real sockets: what the tests that need all three share."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from typing import Any

import httpx

from app.agents.registry import Registry
from app.bootstrap.execution import Execution, build_execution
from app.jobs.models import Reason
from app.jobs.outcomes import RetryAt
from app.jobs.runner import JobRunner
from app.llm.tls import trusted_certificates
from app.settings import Settings
from app.tasks.models import COLLECTION as TASKS
from tests.api.harness import Api, Json, api_settings, running_api, stores_of
from tests.api.serving import served_api
from tests.processes import Server

PATIENCE = 30
POLL = 0.02
RESTS = {"completed", "failed", "cancelled", "awaiting_approval"}


@dataclass
class World:
    api: Api
    worker: Execution
    simulator: httpx.AsyncClient
    name: str = "w1"

    @property
    def runner(self) -> JobRunner:
        return self.worker.worked[TASKS].runner

    async def run(self, text: str, **body: Any) -> Json:
        """Submit a task and let the worker attempt it until it ends or waits for somebody."""
        return await self.go_on(await self.api.submit(text, **body))

    async def go_on(self, task_id: str) -> Json:
        async with asyncio.timeout(PATIENCE):
            while (task := await self.work(task_id))["status"] not in RESTS:  # noqa: ASYNC110 - until its next attempt
                await asyncio.sleep(POLL)
        return task

    async def attempt(self, text: str, **body: Any) -> Json:
        """The task after its first attempt."""
        return await self.work(await self.api.submit(text, **body))

    async def work(self, task_id: str) -> Json:
        """The task after one attempt, if it may be attempted."""
        await self.runner.run(task_id, worker=self.name)
        return await self.api.read(task_id)

    async def lose_worker(self, task_id: str, attempt: asyncio.Task[Any]) -> None:
        """Cut the attempt off without a word, give the task back as the sweep does, and have another worker."""
        self.runner.fence(self.name)
        await attempt
        self.name = f"successor of {self.name}"
        lost = await self.api.core.store.get(task_id)
        assert await self.api.core.recovery.release(lost, RetryAt(self.api.core.clock(), reason=Reason.WORKER_LOST))

    async def asked(self) -> dict[str, int]:
        """How often the simulator was asked, by role."""
        found: dict[str, int] = (await self.simulator.get("/_sim/requests")).json()["by_role"]
        return found


StartWorld = Callable[..., AbstractAsyncContextManager[World]]


def world_settings(store: Server, redis_url: str, simulator: Server, /, **settings: Any) -> Settings:
    given = {
        **stores_of(store, redis_url),
        "openai_api_key": "simulated",
        "openai_base_url": f"{simulator.http_url}/v1",
        "tavily_api_key": "simulated",
        "tavily_base_url": simulator.http_url,
        **settings,
    }
    return api_settings(**given)


@asynccontextmanager
async def started_world(
    settings: Settings, simulator: Server, *, registry: Registry | None = None, over_socket: bool = False
) -> AsyncIterator[World]:
    """``over_socket`` serves the API on a port, for whoever brings a client of their own."""
    serving = served_api if over_socket else running_api
    async with (
        serving(settings, registry=registry) as api,
        httpx.AsyncClient(base_url=simulator.http_url, trust_env=False, verify=trusted_certificates()) as client,
    ):
        worker = await build_execution(settings, registry=registry)
        await client.delete("/_sim/requests")
        try:
            yield World(api, worker, client)
        finally:
            await client.delete("/_sim/faults")
            await client.delete("/_sim/scenario")
            await worker.close()
