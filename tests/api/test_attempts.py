"""`GET …/attempts` of tasks and steps, and the commands that print it: every attempt ever made, with what it left."""

import asyncio
from collections.abc import AsyncIterator
from typing import ClassVar

import pytest

from app.agents.base import AgentOutput, AgentRequest, AgentTools, BaseAgent
from app.agents.registry import Registry
from app.agents.specs import BUILT_IN, AgentSpec
from app.jobs.models import JobError, Reason
from app.jobs.outcomes import RetryAt
from app.llm.usage import ModelRole
from app.tasks.attempt_schemas import AttemptListResponse
from tests.api.hands import Hands
from tests.api.harness import NOBODY, Api, Json, conforms, problem_of
from tests.api.test_cli_commands import Terminal
from tests.api.world import StartWorld, World, started_world, world_settings
from tests.processes import Server

LOST = JobError("WORKER_LOST", "the worker was lost in attempt 1")
SAYING = "{version: 1, name: saying, steps: {say: {agent: StallingAgent, with: {task: say it}}}}"


class Stalling(BaseAgent):
    """Its first attempt takes until somebody lets it go on."""

    began: ClassVar[asyncio.Event]
    may_go_on: ClassVar[asyncio.Event]

    async def run(self, _request: AgentRequest, _tools: AgentTools) -> AgentOutput:
        self.began.set()
        await self.may_go_on.wait()
        return AgentOutput("Said.", "Said.")


STALLING = AgentSpec(
    name="StallingAgent",
    agent_type="stalling",
    description="Stalls.",
    examples=("Stall",),
    model_role=ModelRole.PEER,
    factory=f"{__name__}:Stalling",
    routable=False,
)


@pytest.fixture
async def world(start_world: StartWorld) -> AsyncIterator[World]:
    async with start_world(over_socket=True) as started:
        yield started


async def attempts_of(api: Api, path: str, query: str = "") -> list[Json]:
    answer = await api.get(f"/v1/{path}/attempts{query}")
    assert answer.status_code == 200, answer.text
    conforms(AttemptListResponse, answer.json())
    found: list[Json] = answer.json()["items"]
    return found


async def test_a_task_tells_of_every_attempt_also_of_a_lost_worker_and_of_earlier_series(world: World) -> None:
    api = world.api
    task_id = await api.submit("Write a short post about queues.")
    lost = await api.hand().claim(task_id)
    assert await api.core.recovery.release(lost, RetryAt(api.core.clock(), LOST, reason=Reason.WORKER_LOST))
    await api.hand().fail(task_id, error_type="LLM_ERROR")
    assert (await api.post(f"/v1/tasks/{task_id}/retry")).status_code == 202
    task = await world.go_on(task_id)

    first, second, third = found = await attempts_of(api, f"tasks/{task_id}")

    assert [(one["seq"], one["series"], one["number"], one["outcome"]) for one in found] == [
        (1, 1, 1, "worker_lost"),
        (2, 1, 2, "failed"),
        (3, 2, 1, "completed"),
    ]
    assert [one["worker"] for one in found] == ["hand-1", "hand-1", "w1"]
    assert (first["error"], first["cost"], first["replayable"]) == (
        {"type": LOST.type, "message": LOST.message},
        None,
        False,
    )
    assert (second["error"]["type"], second["agent_runs"]) == ("LLM_ERROR", [])
    assert third["agent_runs"] == [run["run_id"] for run in task["agent_runs"]]
    assert (third["agent"], third["cost"]["model_calls"] > 0) == (task["selected_agent"], True)
    [recording] = (await api.get(f"/v1/tasks/{task_id}/recordings")).json()["items"]
    assert (third["recording"], third["replayable"]) == (recording["sha256"], True)
    assert [one["seq"] for one in await attempts_of(api, f"tasks/{task_id}", "?after=1&page_size=1")] == [2]
    table = (await Terminal(api).prints("tasks", "attempts", task_id)).splitlines()
    assert [row.split()[6] for row in table[1:]] == ["worker_lost", "failed", "completed"]


async def test_a_step_tells_the_same_of_its_attempts(store: Server, redis_url: str, simulator: Server) -> None:
    Stalling.began, Stalling.may_go_on = asyncio.Event(), asyncio.Event()
    settings = world_settings(store, redis_url, simulator)
    async with started_world(settings, simulator, registry=Registry((*BUILT_IN, STALLING)), over_socket=True) as world:
        hands, steps = Hands(world.api, [world.worker]), world.api.core.steps
        execution_id = await hands.begin(SAYING)
        driving = asyncio.create_task(hands.worker_run(execution_id))
        await Stalling.began.wait()
        [stalled] = (await hands.steps(execution_id)).values()
        lost = RetryAt(world.api.core.clock(), LOST, reason=Reason.WORKER_LOST)
        assert await steps.recovery.release(await steps.store.get(stalled["_id"]), lost)
        waiting = await steps.store.get(stalled["_id"])
        assert await steps.recovery.mark_rung(waiting.id, lane=waiting.lane, dispatches=waiting.dispatches)
        Stalling.may_go_on.set()
        await hands.go_on(execution_id)
        await driving

        first, second = await attempts_of(world.api, f"executions/{execution_id}/steps/say")

        assert (first["outcome"], first["worker"], first["error"]["type"]) == ("worker_lost", "w0", "WORKER_LOST")
        assert (second["outcome"], second["number"], second["agent"]) == ("completed", 2, "StallingAgent")
        assert second["cost"] == {"usd": 0.0, "tokens": 0, "model_calls": 0}
        told = await Terminal(world.api).json("executions", "attempts", execution_id, "say")
        assert told["items"] == [first, second]


async def test_attempts_of_what_is_not_there_are_not_found(world: World) -> None:
    problem_of(await world.api.get(f"/v1/tasks/{NOBODY}/attempts"), 404, "TASK_NOT_FOUND")
    problem_of(await world.api.get("/v1/tasks/no-id/attempts"), 404, "TASK_NOT_FOUND")
    problem_of(await world.api.get(f"/v1/executions/{NOBODY}/steps/say/attempts"), 404, "EXECUTION_NOT_FOUND")
    problem_of(await world.api.get(f"/v1/tasks/{NOBODY}/attempts?after=-1"), 422, "VALIDATION_ERROR")
    assert (await Terminal(world.api).fails("tasks", "attempts", NOBODY)).message.endswith("(TASK_NOT_FOUND, HTTP 404)")


async def test_an_attempt_that_goes_on_is_told_as_it_is(world: World) -> None:
    task_id = await world.api.submit()
    await world.api.hand().claim(task_id)

    [running] = await attempts_of(world.api, f"tasks/{task_id}")

    assert (running["outcome"], running["ended_at"], running["charged"]) == ("running", None, True)
