"""The API, one worker's kernel and a simulator over real sockets: what the tests that need all three share."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import httpx

from app.agents.registry import Registry
from app.bootstrap.execution import Execution, build_execution
from app.settings import Settings
from tests.api.harness import Api, Json, api_settings, running_api, stores_of
from tests.api.serving import served_api
from tests.processes import Server

PATIENCE = 20
RESTS = {"completed", "failed", "cancelled", "awaiting_approval"}


@dataclass
class World:
    api: Api
    worker: Execution
    simulator: httpx.AsyncClient

    async def run(self, text: str, **body: Any) -> Json:
        """Submit a task and let the worker attempt it until it ends or waits for somebody."""
        return await self.go_on(await self.api.submit(text, **body))

    async def go_on(self, task_id: str) -> Json:
        async with asyncio.timeout(PATIENCE):
            while (task := await self.api.read(task_id))["status"] not in RESTS:
                await self.worker.runner.run(task_id, worker="w1")
        return task

    async def attempt(self, text: str, **body: Any) -> Json:
        """The task after its first attempt."""
        task_id = await self.api.submit(text, **body)
        await self.worker.runner.run(task_id, worker="w1")
        return await self.api.read(task_id)

    async def asked(self) -> dict[str, int]:
        """How often the simulator was asked, by role."""
        found: dict[str, int] = (await self.simulator.get("/_sim/requests")).json()["by_role"]
        return found


def world_settings(store: Server, redis_url: str, simulator: Server, **settings: Any) -> Settings:
    url = f"http://127.0.0.1:{simulator.port}"
    given = {
        "openai_api_key": "simulated",
        "openai_base_url": f"{url}/v1",
        "tavily_api_key": "simulated",
        "tavily_base_url": url,
        **settings,
    }
    return api_settings(**stores_of(store, redis_url), **given)


@asynccontextmanager
async def started_world(
    settings: Settings, simulator: Server, *, registry: Registry | None = None, over_socket: bool = False
) -> AsyncIterator[World]:
    """``over_socket`` serves the API on a port, for whoever brings a client of their own."""
    serving = served_api if over_socket else running_api
    url = f"http://127.0.0.1:{simulator.port}"
    async with (
        serving(settings, registry=registry) as api,
        httpx.AsyncClient(base_url=url, trust_env=False) as client,
    ):
        worker = await build_execution(settings, registry=registry)
        await client.delete("/_sim/requests")
        try:
            yield World(api, worker, client)
        finally:
            await client.delete("/_sim/faults")
            await worker.close()
