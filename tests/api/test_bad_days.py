"""Tasks on bad days, in the real kernel against the simulator: late or failed, but never with a wrong result."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import httpx
import pytest

from app.bootstrap.execution import Execution, build_execution
from app.jobs.models import Status
from app.llm.simulator.scenario_files import scenario_names
from tests.api.harness import Api, Json, api_settings, running_api, stores_of
from tests.processes import Server

PATIENCE = 30
POLL = 0.02
TASKS = (
    "Write a short article about the benefits of renewable energy",
    "Write a Python function to reverse a string",
    "Summarise this text: Queues hold work. Workers take it. Leases tell who has it.",
)
TOO_LONG = f"Write a Python function to reverse a string. {'It must be well documented. ' * 400}"
# Their calls are slow by themselves.
LONG_ONES = {"slow", "hanging", "bad-day"}
# How a task of this scenario may fail; all others complete.
FAILURES: dict[str, set[str]] = {
    "calm": set(),
    "slow": set(),
    "rate-limited": {"LLM_RATE_LIMITED"},
    "flaky": {"LLM_ERROR"},
    "hanging": {"TIMEOUT"},
    "dropping": {"LLM_ERROR"},
    "truncated": {"AGENT_OUTPUT_INVALID"},
    "malformed": {"AGENT_OUTPUT_INVALID", "LLM_ERROR"},
    "refusing": {"AGENT_OUTPUT_INVALID"},
    "context-overflow": {"CONTEXT_TOO_LONG"},
    "bad-day": {
        "AGENT_OUTPUT_INVALID",
        "CONTEXT_TOO_LONG",
        "LLM_ERROR",
        "LLM_RATE_LIMITED",
        "SEARCH_ERROR",
        "TIMEOUT",
    },
}


@dataclass
class World:
    """The API, one worker's kernel and a simulator."""

    api: Api
    worker: Execution
    simulator: httpx.AsyncClient

    async def play(self, scenario: Any, *, seed: int = 3) -> None:
        answer = await self.simulator.post("/_sim/scenario", json={"scenario": scenario, "seed": seed})
        assert answer.status_code == 200, answer.text

    async def report(self) -> Json:
        found: Json = (await self.simulator.get("/_sim/scenario")).json()
        return found

    async def calls(self) -> list[Json]:
        found: list[Json] = (await self.simulator.get("/_sim/requests")).json()["recent"]
        return found

    async def run(self, text: str) -> Json:
        """The task when it has ended."""
        task_id = await self.api.submit(text)
        async with asyncio.timeout(PATIENCE):
            while not Status((await self.api.read(task_id))["status"]).is_final:
                await self.worker.runner.run(task_id, worker="w1")
                # A task that waits for its next attempt is not run by asking again.
                await asyncio.sleep(POLL)
        return await self.api.read(task_id)

    async def run_all(self, *texts: str) -> list[Json]:
        return await asyncio.gather(*(self.run(text) for text in texts))


@asynccontextmanager
async def a_world(store: Server, redis_url: str, simulator: Server, **settings: Any) -> AsyncIterator[World]:
    models = {
        "openai_api_key": "simulated",
        "openai_base_url": f"{simulator.http_url}/v1",
        "tavily_api_key": "simulated",
        "tavily_base_url": simulator.http_url,
        "llm_timeout_sec": 3.0,
        "circuit_open_sec": 0.2,
        "retry_maximum_sec": 0.2,
    }
    given = api_settings(**stores_of(store, redis_url), **{**models, **settings})
    async with running_api(given) as api, httpx.AsyncClient(base_url=simulator.http_url, trust_env=False) as client:
        worker = await build_execution(given)
        try:
            yield World(api, worker, client)
        finally:
            await client.delete("/_sim/scenario")
            await worker.close()


@pytest.fixture
async def world(store: Server, redis_url: str, simulator: Server) -> AsyncIterator[World]:
    async with a_world(store, redis_url, simulator) as started:
        yield started


async def problems_of(world: World, scenario: str, calm: list[Json]) -> list[str]:
    """What happened to the tasks that must not happen in this scenario."""
    await world.play(scenario)
    ended = await world.run_all(*TASKS)
    wrong = [
        f"{scenario}: {task['task_id']} has another result: {task['result']}"
        for task, expected in zip(ended, calm, strict=True)
        if task["status"] == "completed" and task["result"] != expected["result"]
    ]
    failed = [task["error"]["type"] for task in ended if task["status"] != "completed"]
    return wrong + [f"{scenario}: failed with {error}" for error in failed if error not in FAILURES[scenario]]


def test_every_scenario_is_tried_here() -> None:
    assert sorted(FAILURES) == scenario_names()


async def test_what_completes_on_a_bad_day_is_what_completes_on_a_calm_one(world: World) -> None:
    calm = await world.run_all(*TASKS)
    before = len(await world.calls())

    problems = [await problems_of(world, scenario, calm) for scenario in sorted(set(FAILURES) - LONG_ONES)]

    assert [task["status"] for task in calm] == ["completed"] * len(TASKS)
    assert not [problem for one in problems for problem in one]
    assert [call for call in (await world.calls())[before:] if call["rules"]]


@pytest.mark.long
@pytest.mark.parametrize("scenario", sorted(LONG_ONES))
async def test_what_completes_on_a_long_bad_day_is_what_completes_on_a_calm_one(world: World, scenario: str) -> None:
    calm = await world.run_all(*TASKS)

    problems = await problems_of(world, scenario, calm)

    assert not problems
    assert any((await world.report())["fired"].values())


async def test_a_refused_task_fails_at_once_and_is_not_asked_again(world: World) -> None:
    refusal = {"name": "no", "match": {"roles": ["coder"]}, "then": {"answer": "refuse"}}
    await world.play({"name": "never", "description": "The model never writes code.", "rules": [refusal]})

    task = await world.run(TASKS[1])

    assert (task["status"], task["error"]["type"], task["attempt"]) == ("failed", "AGENT_OUTPUT_INVALID", 1)
    assert (await world.report())["fired"] == {"no": 1}


async def test_only_what_is_too_long_for_the_models_context_fails(world: World) -> None:
    await world.play("context-overflow")

    short, long = await world.run_all(TASKS[1], TOO_LONG)

    assert short["status"] == "completed"
    assert (long["status"], long["error"]["type"], long["attempt"]) == ("failed", "CONTEXT_TOO_LONG", 1)


async def test_a_storm_is_waited_out_as_long_as_its_headers_say(world: World) -> None:
    storm = {"name": "storm", "limit": 1, "then": {"error": 429, "reset_after": 0.4}}
    await world.play({"name": "storm", "description": "One 429.", "rules": [storm]})

    task = await world.run(TASKS[1])

    # The first of them was refused, the second came no earlier than the headers had said.
    refused, again = [call for call in await world.calls() if call["role"] == "router"][-2:]
    assert (task["status"], refused["status"], again["status"]) == ("completed", 429, 200)
    assert again["at"] - refused["at"] >= 0.4


async def test_a_stream_that_breaks_off_is_asked_for_again(world: World) -> None:
    drop = {"name": "drop", "match": {"streaming": True}, "limit": 1, "then": {"answer": "drop"}}
    calm = await world.run(TASKS[1])
    await world.play({"name": "drop", "description": "One broken stream.", "rules": [drop]})

    task = await world.run(TASKS[1])

    assert (await world.report())["fired"] == {"drop": 1}
    assert (task["status"], task["attempt"], task["result"]) == ("completed", 2, calm["result"])
