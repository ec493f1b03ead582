"""Which models a task asked, what that cost and what limits them, in the real kernel and over real sockets."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

import pytest
from starlette.applications import Starlette

from app.http.server import server_config
from app.tasks.schemas import TaskResponse, WhyResponse
from tests.api.harness import conforms
from tests.api.serving import QuietServer
from tests.api.world import StartWorld, World
from tests.fakes.anthropic import AnthropicServer, Fails, Says
from tests.processes import Server

NOBODY = "http://127.0.0.1:9/v1"
CODING = "Write a Go function to reverse a string"
CLAUDE = "anthropic:claude-sonnet-5"


@pytest.fixture
def start_world(start_world: StartWorld, simulator: Server) -> StartWorld:
    """Its worlds know a provider that is down and one of their own."""
    endpoints = {"down": {"base_url": NOBODY}, "local": {"base_url": f"{simulator.http_url}/v1"}}
    return partial(start_world, llm_endpoints=endpoints)


async def count_calls(world: World) -> int:
    return sum((await world.asked()).values())


@asynccontextmanager
async def served(application: Starlette) -> AsyncIterator[str]:
    """On a free port of this machine."""
    server = QuietServer(server_config(application, host="127.0.0.1", port=0), on_stop=lambda: None)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        serving = asyncio.create_task(server.serve(sockets=[listener]))
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            server.should_exit = True
            with contextlib.suppress(asyncio.CancelledError):
                await serving


async def test_when_a_model_is_down_the_next_one_answers_and_the_runs_say_so(start_world: StartWorld) -> None:
    async with start_world(llm_peer_model="down:small,gpt-4o-mini", llm_code_model="down:big,local:gpt-4o") as world:
        task = await world.run(CODING)

    conforms(TaskResponse, task)
    assert (task["status"], task["attempt"]) == ("completed", 1)
    router, executor = task["agent_runs"]
    assert (router["model"], executor["model"]) == ("gpt-4o-mini", "local:gpt-4o")
    assert router["models"] == [
        {"model": "down:small", "calls": 1, "failures": 1, "last_error": "LLM_ERROR"},
        {"model": "gpt-4o-mini", "calls": 1, "failures": 0, "last_error": None},
    ]
    failed, answered = executor["models"]
    assert (failed["model"], failed["failures"], failed["last_error"]) == ("down:big", failed["calls"], "LLM_ERROR")
    assert (answered["model"], answered["failures"]) == ("local:gpt-4o", 0)
    counted = sum(use["calls"] for run in task["agent_runs"] for use in run["models"])
    assert task["cost"]["model_calls"] == counted


async def test_each_call_of_a_chain_is_one_of_the_budget(start_world: StartWorld) -> None:
    async with start_world(llm_code_model="down:big,gpt-4o") as world:
        before = await count_calls(world)
        task = await world.run(CODING, agent="CodeAgent", budget={"model_calls": 1})
        asked = await count_calls(world) - before

    assert (task["error"]["type"], asked) == ("BUDGET_EXCEEDED", 0)
    assert task["cost"]["model_calls"] == 1


async def test_a_model_that_is_known_to_be_down_is_passed_over(start_world: StartWorld) -> None:
    async with start_world(llm_peer_model="down:small,gpt-4o-mini", circuit_failures=1) as world:
        await world.run(CODING)
        task = await world.run(CODING)

    assert task["agent_runs"][0]["models"] == [
        {"model": "down:small", "calls": 0, "failures": 0, "last_error": "CIRCUIT_OPEN"},
        {"model": "gpt-4o-mini", "calls": 1, "failures": 0, "last_error": None},
    ]


async def test_every_run_that_asked_a_model_names_the_versions_of_its_prompts(start_world: StartWorld) -> None:
    async with start_world() as world:
        tasks = [await world.run(CODING), await world.run("Write a short article about coffee")]

    for run in (run for task in tasks for run in task["agent_runs"]):
        assert run["prompts"], f"{run['agent_name']} does not say which prompts it used"
        assert all(len(prompt["digest"]) == 16 for prompt in run["prompts"])
    assert {prompt["name"] for task in tasks for prompt in task["agent_runs"][0]["prompts"]} >= {"router"}
    first, second = (task["agent_runs"][0]["prompts"] for task in tasks)
    assert first == second


async def test_calls_whose_price_is_not_known_are_counted(start_world: StartWorld) -> None:
    async with start_world(llm_code_model="local:llama") as world:
        cost = (await world.run(CODING, agent="CodeAgent"))["cost"]

    assert cost["unpriced_calls"] == cost["model_calls"] > 0
    assert cost["usd_estimate"] == 0


async def test_a_configured_price_is_charged(start_world: StartWorld) -> None:
    prices = {"local:llama": {"input_per_million": 1, "output_per_million": 1}}

    async with start_world(llm_code_model="local:llama", llm_prices=prices) as world:
        cost = (await world.run(CODING, agent="CodeAgent"))["cost"]

    assert cost["unpriced_calls"] == 0
    assert cost["usd_estimate"] == pytest.approx(cost["total_tokens"] / 1_000_000)


async def test_a_task_beyond_the_rate_limit_waits_outside_of_the_worker_and_no_attempt_is_charged(
    start_world: StartWorld,
) -> None:
    limits = {"local:llama": {"requests_per_minute": 1}}

    async with start_world(llm_peer_model="local:llama", llm_code_model="gpt-4o", llm_rate_limits=limits) as world:
        await world.run(CODING)
        before = await count_calls(world)
        deferred = await world.attempt(CODING)
        why = (await world.api.get(f"/v1/tasks/{deferred['task_id']}/why")).json()
        asked = await count_calls(world) - before

    assert (deferred["status"], deferred["attempt"], deferred["agent_runs"], asked) == ("queued", 0, [], 0)
    assert deferred["history"][-1]["reason"] == "rate_limited"
    assert deferred["error"]["type"] == "LLM_RATE_LIMITED"
    conforms(WhyResponse, why)
    assert why["waiting_for"] == "provider_rate_limit"
    assert "rate limit of local:llama" in why["explanation"]
    assert "Attempt 1 of 3" in why["explanation"]


async def test_beyond_the_rate_limit_of_one_model_the_next_in_the_chain_is_asked(start_world: StartWorld) -> None:
    limits = {"local:llama": {"requests_per_minute": 1}}

    async with start_world(llm_peer_model="local:llama,gpt-4o-mini", llm_rate_limits=limits) as world:
        await world.run(CODING)
        task = await world.run(CODING)

    assert task["agent_runs"][0]["models"] == [
        {"model": "local:llama", "calls": 0, "failures": 0, "last_error": "LLM_RATE_LIMITED"},
        {"model": "gpt-4o-mini", "calls": 1, "failures": 0, "last_error": None},
    ]


async def test_after_a_429_no_other_task_asks_before_the_provider_wishes(start_world: StartWorld) -> None:
    async with start_world(llm_peer_model="local:llama") as world:
        refused = await world.attempt(f"{CODING} [[sim error=429 retry_after=30]]")
        before = await count_calls(world)
        other = await world.attempt(CODING)
        asked = await count_calls(world) - before

    assert (refused["status"], refused["attempt"]) == ("queued", 1)
    assert (other["status"], other["attempt"], asked) == ("queued", 0, 0)
    assert "rate limit of local:llama" in other["error"]["message"]


@pytest.mark.parametrize(
    ("answer", "model", "error"),
    [
        (Says("Here it is:\n\n```go\npackage main\n\nfunc main() {}\n```"), CLAUDE, None),
        (Fails(529, "overloaded_error"), "gpt-4o", "LLM_ERROR"),
        (Fails(401, "authentication_error"), "gpt-4o", "LLM_AUTH"),
    ],
    ids=["answers", "overloaded", "wrong key"],
)
async def test_anthropic_serves_a_task_and_when_it_cannot_the_next_does(
    start_world: StartWorld, answer: Says | Fails, model: str, error: str | None
) -> None:
    async with (
        served(AnthropicServer(answer).application) as url,
        start_world(
            anthropic_api_key="sk-ant-secret", anthropic_base_url=url, llm_code_model=f"{CLAUDE},gpt-4o"
        ) as world,
    ):
        task = await world.run(CODING, agent="CodeAgent")

    assert task["status"] == "completed", task["error"]
    [run] = task["agent_runs"]
    assert (run["model"], run["models"][0]["model"], run["models"][0]["last_error"]) == (model, CLAUDE, error)
    assert task["result"]["code_language"] == "go"
    if error is None:
        assert run["token_usage"]["cached"] == 90 * run["models"][0]["calls"]
