"""Memory across tasks, in the real kernel and against the simulator: what a later task is told, and what that costs."""

from collections.abc import AsyncIterator

import pytest

from app.agents.base import AgentOutput, AgentRequest, AgentTools, BaseAgent
from app.agents.specs import AgentSpec
from app.llm.usage import ModelRole
from tests.api.harness import Json
from tests.api.world import StartWorld, World

LONG = "word " * 60


class RecallingAgent(BaseAgent):
    """Answers with what it was told of its session, and a long text."""

    async def run(self, request: AgentRequest, tools: AgentTools) -> AgentOutput:
        data = {"told": [message.content for message in request.history]}
        return AgentOutput(summary=request.text, raw_output=f"{request.text} {LONG}", data=data)


RECALLING = AgentSpec(
    name="RecallingAgent",
    agent_type="recalling",
    description="Says what it was told.",
    examples=("Recall",),
    model_role=ModelRole.PEER,
    factory="tests.api.test_sessions_end_to_end:RecallingAgent",
    routable=False,
)


@pytest.fixture
async def remembering(start_world: StartWorld) -> AsyncIterator[World]:
    # One turn fits, beside a small summary.
    async with start_world(RECALLING, session_context_tokens=220, session_summary_tokens=100) as started:
        yield started


async def ask(world: World, text: str) -> Json:
    """The next turn of the session."""
    return await world.run(text, session_id="demo", agent=RECALLING.name)


async def test_and_now_in_go_after_a_python_function_gives_go(start_world: StartWorld) -> None:
    async with start_world() as world:
        first = await world.run("Write a Python function that reverses a string")
        second = await world.run("and now in Go", session_id=first["session_id"])

    assert (first["result"]["code_language"], second["result"]["code_language"]) == ("python", "go")
    assert second["selected_agent"] == "CodeAgent"
    assert "```go" in second["result"]["raw_output"]


async def test_a_task_that_says_nothing_by_itself_is_routed_by_what_it_goes_on_with(start_world: StartWorld) -> None:
    async with start_world() as world:
        first = await world.run("Write a Python function that reverses a string")
        second = await world.run("the same once more, please", session_id=first["session_id"])
        alone = await world.run("the same once more, please", session_id="nothing-before")

    assert second["selected_agent"] == "CodeAgent"
    assert alone["error"]["type"] == "UNKNOWN_TASK_TYPE"


async def test_older_turns_are_condensed_by_a_run_of_their_own_that_is_paid_by_the_task(remembering: World) -> None:
    for number in (1, 2):
        await ask(remembering, f"Question {number}.")

    task = await ask(remembering, "Question 3.")

    assert task["status"] == "completed", task["error"]
    memory, executor = task["agent_runs"]
    assert (memory["agent_role"], memory["agent_name"], memory["status"]) == ("memory", "SessionMemory", "completed")
    assert memory["token_usage"]["total"] == task["cost"]["total_tokens"] > 0
    assert executor["agent_role"] == "executor"
    assert "Asked: Question 1." in memory["output"]
    told = task["result"]["data"]["told"]
    assert told[1:3] == [memory["output"], "Question 2."]
    session = (await remembering.api.get("/v1/sessions/demo")).json()
    assert session["has_summary"] is True
    assert session["cost"]["tokens"] == task["cost"]["total_tokens"]


async def test_a_summary_that_fails_does_not_fail_the_task(remembering: World) -> None:
    for number in (1, 2):
        await ask(remembering, f"Question {number}.")
    await remembering.simulator.post("/_sim/faults", json={"role": "memory", "error": "500"})

    task = await ask(remembering, "Question 3.")

    assert task["status"] == "completed"
    assert [run["status"] for run in task["agent_runs"]] == ["failed", "completed"]
    assert [text.split(" word")[0] for text in task["result"]["data"]["told"]] == ["Question 2."] * 2
    assert task["attempt"] == 1


async def test_a_task_that_does_not_fit_is_refused_without_asking_a_model(start_world: StartWorld) -> None:
    async with start_world(llm_context_tokens=2000) as world:
        await world.simulator.delete("/_sim/requests")

        task = await world.run("Write about coffee. " * 400)

        assert task["error"]["type"] == "CONTEXT_TOO_LONG"
        assert "shorten the task" in task["error"]["message"]
        assert task["attempt"] == 1
        assert (await world.simulator.get("/_sim/requests")).json()["total"] == 0
