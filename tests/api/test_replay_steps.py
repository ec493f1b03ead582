"""Record the steps of an execution, replay one or all of them without anybody to ask, and see what differs."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from app.cli.exit_codes import ExitCode
from app.errors import Invalid
from app.jobs.models import Status
from app.replay.models import Recording
from app.replay.routes import RecordingListResponse
from tests.api.hands import Hands
from tests.api.harness import Json, conforms, problem_of
from tests.api.test_cli_commands import Terminal
from tests.api.test_replay import orchestrate
from tests.api.world import StartWorld, World

WORKFLOW = """
version: 1
name: replayable
inputs:
  words: {type: array, items: {type: string}}
steps:
  write:
    agent: code
    with: {task: Write a Python function that reverses a string}
    retry: {max_attempts: 2, initial: 10ms, jitter: none}
    output: {raw_output: {type: string}}
  judge:
    needs: [write]
    evaluate:
      step: write
      checks: [{type: code_parses}]
      rubric: {criteria: [{name: subject, description: It has a function that reverses a string.}]}
      on_fail: flag
  sort:
    needs: [write]
    task: "Is this comment positive or negative? The room was lovely."
  each:
    needs: [judge]
    for_each: "${{ inputs.words }}"
    agent: EchoAgent
    with: {task: "${{ item }}"}
    output: {raw_output: {type: string}}
  shape:
    needs: [each]
    transform: {said: "${{ steps.each.output.map(one, one.raw_output) }}"}
"""
ROUNDS = """
version: 1
name: rounds
steps:
  say: {agent: EchoAgent, with: {task: few words}, output: {raw_output: {type: string}}}
  judge:
    needs: [say]
    evaluate: {step: say, checks: [{type: length, min_words: 100}], on_fail: retry, max_rounds: 1}
"""
WAITING = """
version: 1
name: waiting
steps:
  say: {agent: EchoAgent, with: {task: hello}}
  ask: {needs: [say], approval: {message: "Go on?", approvers: [key]}}
"""


@pytest.fixture
async def world(start_world: StartWorld) -> AsyncIterator[World]:
    async with start_world(over_socket=True) as started:
        yield started


@pytest.fixture
async def hands(world: World) -> AsyncIterator[Hands]:
    hands = Hands(world.api, [world.worker])
    yield hands
    await hands.rest()


@pytest.fixture
def terminal(world: World) -> Terminal:
    return Terminal(world.api)


async def begun(hands: Hands, text: str, inputs: Json | None = None) -> str:
    """The id of an execution that has ended, or waits."""
    return (await hands.run(text, inputs)).id


async def recordings_of(world: World, execution_id: str, step: str) -> list[Recording]:
    path = f"/v1/executions/{execution_id}/steps/{step}/recordings"
    listed = (await world.api.get(path)).json()
    conforms(RecordingListResponse, listed)
    answers = [await world.api.get(f"{path}/{one['sha256']}") for one in listed["items"]]
    return [Recording.model_validate(answer.json()) for answer in answers]


async def test_every_step_of_an_execution_is_replayed_the_same_and_nobody_is_asked(
    world: World, hands: Hands, terminal: Terminal
) -> None:
    execution_id = await begun(hands, WORKFLOW, {"words": ["one", "two"]})
    await world.simulator.delete("/_sim/requests")

    whole = await terminal.json("replay", execution_id)
    shown = await terminal.prints("replay", execution_id)
    single = await terminal.json("replay", execution_id, "--step", "each[1]", "--series", "1")
    told = await terminal.json("replay", execution_id, "--step", "shape")

    assert whole["counts"] == {"same": 5, "different": 0, "diverged": 0, "told": 2, "not done": 0}
    roles = {one["step"]: [run["agent_role"] for run in one["runs"]] for one in whole["steps"]}
    assert roles == {
        "write": ["executor"], "judge": ["evaluator"], "sort": ["router", "executor"], "each[0]": ["executor"],
        "each[1]": ["executor"], "each": [], "shape": [],
    }  # fmt: skip
    assert shown.splitlines()[-1] == "7 steps: 5 same, 2 told"
    (each,) = single["steps"]
    assert (each["step"], each["runs"][0]["now"]["output"]["raw_output"]) == ("each[1]", "two")
    assert told["steps"][0]["output"] == {"said": ["one", "two"]}
    assert await world.asked() == {}


@pytest.mark.long
@pytest.mark.timeout(200)
async def test_a_changed_prompt_diverges_and_the_exit_code_tells(world: World, hands: Hands, tmp_path: Path) -> None:
    execution_id = await begun(hands, WORKFLOW, {"words": []})
    changed = tmp_path / "generate.md"
    changed.write_text("Answer with one word.")

    alone = await orchestrate(world, "replay", execution_id, "--step", "write", "--prompt", f"code_generate={changed}")
    whole = await orchestrate(world, "replay", execution_id, "--prompt", f"code_generate={changed}")

    assert alone.returncode == ExitCode.DIVERGED, alone.stderr
    assert "+Answer with one word." in alone.stdout
    assert whole.returncode == ExitCode.DIVERGED
    assert whole.stdout.splitlines()[-1] == "5 steps: 2 same, 1 diverged, 2 told"


async def test_another_agent_does_one_step_live_and_never_all_of_them(hands: Hands, terminal: Terminal) -> None:
    execution_id = await begun(hands, ROUNDS)

    other = await terminal.run("replay", execution_id, "--step", "say", "--agent", "CodeAgent", "--live")
    of_all = await terminal.fails("replay", execution_id, "--agent", "CodeAgent", "--live")

    assert other.exit_code == ExitCode.FAILED
    assert "different executor CodeAgent" in other.stdout
    assert "name it with --step" in of_all.message


async def test_a_step_that_was_evaluated_in_rounds_is_replayed_as_far_as_its_last(
    world: World, hands: Hands, terminal: Terminal
) -> None:
    execution_id = await begun(hands, ROUNDS)

    replayed = await terminal.json("replay", execution_id, "--step", "judge")
    (recording,) = await recordings_of(world, execution_id, "judge")

    assert [run.agent_role for run in recording.runs] == ["evaluator", "executor", "evaluator"]
    runs = replayed["steps"][0]["runs"]
    assert [(run["agent_role"], run["is_same"]) for run in runs] == [("executor", True), ("evaluator", True)]
    assert runs[-1]["score"]["then"] == runs[-1]["score"]["now"] < 1


async def test_each_attempt_at_a_step_is_recorded_with_how_it_ended(world: World, hands: Hands) -> None:
    await world.simulator.post("/_sim/faults", json={"role": "coder", "error": "500"})
    execution = await hands.run(WORKFLOW, {"words": []})
    await world.simulator.delete("/_sim/faults")

    recordings = await recordings_of(world, execution.id, "write")
    path = f"/v1/executions/{execution.id}/steps"
    items = {one["path"]: one["recordings"] for one in (await world.api.get(path)).json()["items"]}
    other = await world.api.get(f"{path}/write/recordings/{'0' * 64}")
    no_series = await world.api.get(f"{path}/write/recordings", params={"series": 2})

    assert execution.status is Status.FAILED
    assert [one.attempt for one in recordings] == [1, 2]
    for (run,) in (one.runs for one in recordings):
        assert run.error is not None
        assert (run.error.type, run.output, run.calls[0].error is None) == ("LLM_ERROR", None, False)
    assert items["write"] == 2
    problem_of(other, 404, "ARTIFACT_NOT_FOUND")
    problem_of(no_series, 404, "STEP_NOT_FOUND")


async def test_what_cannot_be_replayed_says_why(hands: Hands, terminal: Terminal) -> None:
    waiting = await begun(hands, WAITING)

    problems: dict[str, Any] = {
        "whole": await terminal.fails("replay", waiting),
        "open": await terminal.fails("replay", waiting, "--step", "ask"),
        "unknown": await terminal.fails("replay", waiting, "--step", "nothing"),
        "series": await terminal.fails("replay", waiting, "--series", "1"),
        "nobody": await terminal.fails("replay", "no-such-thing"),
    }
    ended = await terminal.prints("replay", waiting, "--step", "say")

    assert "is awaiting_approval: wait for its end, or name a step that has with --step" in problems["whole"].message
    assert "step ask is awaiting_approval" in problems["open"].message
    assert "STEP_NOT_FOUND" in problems["unknown"].message
    assert isinstance(problems["series"], Invalid)
    assert "TASK_NOT_FOUND" in problems["nobody"].message
    assert "no execution of this id" in problems["nobody"].message
    assert "same      executor EchoAgent" in ended


async def test_without_room_no_step_is_recorded(start_world: StartWorld) -> None:
    async with start_world(over_socket=True, recording_max_bytes=0) as world:
        execution_id = await begun(Hands(world.api, [world.worker]), ROUNDS)
        terminal = Terminal(world.api)

        whole = await terminal.fails("replay", execution_id)
        single = await terminal.fails("replay", execution_id, "--step", "say")

        assert "RECORDING_MAX_BYTES" in whole.message
        assert "no run of an agent was recorded" in single.message
