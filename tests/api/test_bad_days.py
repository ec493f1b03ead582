"""Tasks on bad days, in the real kernel against the simulator: late or failed, but never with a wrong result."""

import asyncio
from functools import partial
from typing import Any

import pytest

from app.llm.simulator.scenario_files import scenario_names
from tests.api.harness import Json
from tests.api.world import StartWorld, World

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


@pytest.fixture
def start_world(start_world: StartWorld) -> StartWorld:
    """Its worlds have no time to lose."""
    return partial(start_world, llm_timeout_sec=3.0, circuit_open_sec=0.2, retry_maximum_sec=0.2)


async def play(world: World, scenario: Any, *, seed: int = 3) -> None:
    answer = await world.simulator.post("/_sim/scenario", json={"scenario": scenario, "seed": seed})
    assert answer.status_code == 200, answer.text


async def report_of(world: World) -> Json:
    found: Json = (await world.simulator.get("/_sim/scenario")).json()
    return found


async def calls_of(world: World) -> list[Json]:
    found: list[Json] = (await world.simulator.get("/_sim/requests")).json()["recent"]
    return found


async def run_all(world: World, *texts: str) -> list[Json]:
    return await asyncio.gather(*(world.run(text) for text in texts))


async def problems_of(world: World, scenario: str, calm: list[Json]) -> list[str]:
    """What happened to the tasks that must not happen in this scenario."""
    await play(world, scenario)
    ended = await run_all(world, *TASKS)
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
    calm = await run_all(world, *TASKS)
    before = len(await calls_of(world))

    problems = [await problems_of(world, scenario, calm) for scenario in sorted(set(FAILURES) - LONG_ONES)]

    assert [task["status"] for task in calm] == ["completed"] * len(TASKS)
    assert not [problem for one in problems for problem in one]
    assert [call for call in (await calls_of(world))[before:] if call["rules"]]


@pytest.mark.long
@pytest.mark.parametrize("scenario", sorted(LONG_ONES))
async def test_what_completes_on_a_long_bad_day_is_what_completes_on_a_calm_one(world: World, scenario: str) -> None:
    calm = await run_all(world, *TASKS)

    problems = await problems_of(world, scenario, calm)

    assert not problems
    assert any((await report_of(world))["fired"].values())


async def test_a_refused_task_fails_at_once_and_is_not_asked_again(world: World) -> None:
    refusal = {"name": "no", "match": {"roles": ["coder"]}, "then": {"answer": "refuse"}}
    await play(world, {"name": "never", "description": "The model never writes code.", "rules": [refusal]})

    task = await world.run(TASKS[1])

    assert (task["status"], task["error"]["type"], task["attempt"]) == ("failed", "AGENT_OUTPUT_INVALID", 1)
    assert (await report_of(world))["fired"] == {"no": 1}


async def test_only_what_is_too_long_for_the_models_context_fails(world: World) -> None:
    await play(world, "context-overflow")

    short, long = await run_all(world, TASKS[1], TOO_LONG)

    assert short["status"] == "completed"
    assert (long["status"], long["error"]["type"], long["attempt"]) == ("failed", "CONTEXT_TOO_LONG", 1)


async def test_a_storm_is_waited_out_as_long_as_its_headers_say(world: World) -> None:
    storm = {"name": "storm", "limit": 1, "then": {"error": 429, "reset_after": 0.4}}
    await play(world, {"name": "storm", "description": "One 429.", "rules": [storm]})

    task = await world.run(TASKS[1])

    # The first of them was refused, the second came no earlier than the headers had said.
    refused, again = [call for call in await calls_of(world) if call["role"] == "router"][-2:]
    assert (task["status"], refused["status"], again["status"]) == ("completed", 429, 200)
    assert again["at"] - refused["at"] >= 0.4


async def test_a_stream_that_breaks_off_is_asked_for_again(world: World) -> None:
    drop = {"name": "drop", "match": {"streaming": True}, "limit": 1, "then": {"answer": "drop"}}
    calm = await world.run(TASKS[1])
    await play(world, {"name": "drop", "description": "One broken stream.", "rules": [drop]})

    task = await world.run(TASKS[1])

    assert (await report_of(world))["fired"] == {"drop": 1}
    assert (task["status"], task["attempt"], task["result"]) == ("completed", 2, calm["result"])
