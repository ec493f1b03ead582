"""The API in this process, over a real store and a real broker, and a hand that works on tasks as a worker would."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, fields
from datetime import timedelta
from functools import partial
from typing import Any, Self
from uuid import uuid4

import httpx
from fastapi import FastAPI
from pydantic import BaseModel

from app.agents.registry import Registry
from app.bootstrap.core import Core, build_core
from app.bootstrap.execution import build_execution
from app.jobs.models import Job, JobError
from app.jobs.outcomes import Failed, Finished, Outcome, RetryAt
from app.jobs.transitions import Evidence
from app.jobs.upkeep import Upkeep
from app.main import create_app
from app.observability.metrics import Metrics
from app.settings import Settings, load_settings
from tests.processes import Server

Json = dict[str, Any]
WRITING = "Write a short post about durable queues."
NOBODY = "00000000-0000-4000-8000-000000000000"
RESULT: Json = {
    "summary": "A post about queues.",
    "raw_output": "# Queues\n\nThey wait so that you need not.",
    "code_language": None,
    "citations": [{"source": "docs", "title": "Queues", "url": "https://example.org/queues"}],
}
ROUTED: Json = {
    "selected_agent": "ContentAgent",
    "agent_type": "content",
    "peer_routing_reason": "it asks for prose",
    "routing": {"agent_name": "ContentAgent", "confidence": 0.9, "reasoning": "it asks for prose"},
}


def api_settings(mongo_uri: str, redis_url: str, **overrides: Any) -> Settings:
    """Settings of a test: a database of its own, nothing from the environment's files, no rate limit, no packages."""
    given = {
        "mongo_uri": mongo_uri,
        "redis_url": redis_url,
        "mongo_db_name": f"test_{uuid4().hex}",
        "api_rate_limit_per_minute": 0,
        "retry_initial_sec": 0.1,
        "agent_plugins": "none",
    }
    return load_settings(_env_file=None, **{**given, **overrides})


@dataclass(slots=True)
class Api:
    """One running API and a client of it."""

    app: FastAPI
    settings: Settings
    client: httpx.AsyncClient

    @property
    def core(self) -> Core:
        core: Core = self.app.state.core
        return core

    async def get(self, path: str, **options: Any) -> httpx.Response:
        return await self.client.get(path, **options)

    async def post(self, path: str, body: Any = None, **options: Any) -> httpx.Response:
        return await self.client.post(path, **({} if body is None else {"json": body}), **options)

    async def execute(self, task: Any = WRITING, *, headers: Mapping[str, str] | None = None, **body: Any) -> Any:
        """The answer to a new task, whatever it is."""
        return await self.post("/v1/agent/execute", {"task": task, **body}, headers=headers)

    async def submit(self, task: str = WRITING, *, headers: Mapping[str, str] | None = None, **body: Any) -> str:
        """The id of a task that was accepted."""
        response = await self.execute(task, headers=headers, **body)
        assert response.status_code == 202, response.text
        return str(response.json()["task_id"])

    async def read(self, task_id: str, **options: Any) -> Json:
        response = await self.get(f"/v1/tasks/{task_id}", **options)
        assert response.status_code == 200, response.text
        found: Json = response.json()
        return found

    def hand(self) -> "Hand":
        return Hand(self.core)


class Hand:
    """Does a worker's writes, through the real kernel; tests say when."""

    def __init__(self, core: Core, *, name: str = "hand-1") -> None:
        self._core = core
        self._name = name

    async def claim(self, task_id: str) -> Job:
        job = await self._core.store.claim(task_id, worker=self._name)
        assert job is not None, f"{task_id} is not there to be claimed"
        self._core.signals.notify(task_id)
        return job

    async def settle(self, job: Job, outcome: Outcome, evidence: Evidence | None = None) -> None:
        await self._core.store.settle(job, outcome, evidence or Evidence())
        self._core.signals.notify(job.id)

    async def complete(self, task_id: str, **fields: Any) -> Self:
        done = Finished({**ROUTED, "result": RESULT, **fields})
        await self.settle(await self.claim(task_id), done, Evidence(label="ContentAgent"))
        return self

    async def fail(self, task_id: str, *, error_type: str = "LLM_ERROR", message: str = "the model said no") -> Self:
        await self.settle(await self.claim(task_id), Failed(JobError(error_type, message)))
        return self

    async def requeue(self, task_id: str, *, after: timedelta, error: JobError | None = None) -> Self:
        job = await self.claim(task_id)
        await self.settle(job, RetryAt(self._core.clock() + after, error))
        return self


@dataclass(frozen=True, slots=True, kw_only=True)
class WatchedCore(Core):
    """Says when the store is ready, so that no test ends in the middle of its preparation."""

    prepared: asyncio.Event

    async def prepare_store(self) -> None:
        await Core.prepare_store(self)
        self.prepared.set()


def build_watched(settings: Settings, metrics: Metrics, *, registry: Registry | None = None) -> WatchedCore:
    core = build_core(settings, metrics, registry=registry)
    parts = {field.name: getattr(core, field.name) for field in fields(core)}
    return WatchedCore(**parts, prepared=asyncio.Event())


@asynccontextmanager
async def running_api(
    settings: Settings, *, store_is_up: bool = True, registry: Registry | None = None
) -> AsyncIterator[Api]:
    """The API from start to stop, its store ready; requests do not pass a socket."""
    app = create_app(settings, core_factory=partial(build_watched, registry=registry))
    transport = httpx.ASGITransport(app=app, client=("127.0.0.1", 40_000))
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=transport, base_url="http://api.test", timeout=30.0) as client,
    ):
        if store_is_up:
            async with asyncio.timeout(20):
                await app.state.core.prepared.wait()
        yield Api(app, settings, client)


@asynccontextmanager
async def another_process(settings: Settings) -> AsyncIterator[Core]:
    """The core of a second process on the same stores: what it says reaches the API through Valkey only."""
    core = build_core(settings, Metrics())
    try:
        yield core
    finally:
        await core.close()


@asynccontextmanager
async def upkeep_of(settings: Settings) -> AsyncIterator[Upkeep]:
    """What a worker process does once a second: the sweep and the roll-ups."""
    unused = {"openai_api_key": "unused", "openai_base_url": "http://127.0.0.1:9/v1", "web_search_provider": "none"}
    execution = await build_execution(load_settings(_env_file=None, **{**settings.model_dump(), **unused}))
    try:
        yield execution.upkeep
    finally:
        await execution.close()


async def somebody_waits_for(api: Api, task_id: str) -> None:
    """Return once a request has looked at the task and waits for its next change."""
    async with asyncio.timeout(10):
        while task_id not in api.core.signals._waiters:  # noqa: ASYNC110 - nothing announces that somebody waits
            await asyncio.sleep(0.01)


def problem_of(response: httpx.Response, status: int, code: str) -> Json:
    """The body of a problem document in the exact form of the contract."""
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    assert response.headers["x-request-id"]
    body: Json = response.json()
    assert {"type", "title", "status", "detail", "instance", "error"} <= body.keys()
    assert body["status"] == status
    assert body["error"]["code"] == code, body
    assert body["error"]["message"] == body["detail"]
    assert body["type"].endswith(code)
    assert "details" in body["error"]
    assert "Traceback" not in response.text
    return body


def fields_of(body: Json) -> list[str]:
    return [entry["field"] for entry in body["error"]["details"]]


def conforms(model: type[BaseModel], body: Any) -> None:
    """The body has the model's members, each in its type, and no others."""
    assert model.model_validate(body).model_dump(mode="json").keys() == body.keys()


def stores_of(store: Server, redis_url: str) -> dict[str, str]:
    return {"mongo_uri": store.mongo_uri, "redis_url": redis_url}
