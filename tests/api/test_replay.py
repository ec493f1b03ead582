"""Record a task in the real kernel, replay it without anybody to ask, change something, and see what differs."""

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from app.artifacts.places import Part, place_of
from app.artifacts.store import ArtifactStore
from app.bootstrap.replaying import open_replayer
from app.errors import NotFound
from app.llm.usage import ModelRole
from app.replay.models import Recording, RecordingUnreadable
from app.replay.replaying import NothingRecorded, Replayed, Scores
from app.version import VERSION
from tests.api.harness import Json, problem_of
from tests.api.world import StartWorld, World

ARTICLE = "Compare quantum computing with remote work."
CODING = "Write a Python function that reverses a string"
FLAWLESS = {"type": "code_parses"}
RUBRIC = {"criteria": [{"name": "subject", "description": "It has a Python function that reverses a string."}]}
SAME, DIFFERENT, USAGE, DIVERGED = 0, 1, 2, 8


@pytest.fixture
async def world(start_world: StartWorld, tmp_path: Path) -> AsyncIterator[World]:
    async with start_world(over_socket=True, artifact_store=str(tmp_path / "artifacts")) as started:
        yield started


async def recordings_of(world: World, task: Json) -> list[Recording]:
    path = f"/v1/tasks/{task['task_id']}/recordings"
    items = (await world.api.get(path)).json()["items"]
    answers = [await world.api.get(f"{path}/{one['sha256']}") for one in items]
    return [Recording.model_validate(answer.json()) for answer in answers]


async def replayed(world: World, task: Json, agent: str | None = None, **changes: Any) -> list[Replayed]:
    async with open_replayer(world.api.settings, **changes) as replayer:
        return await replayer.run(await recordings_of(world, task), agent)


@pytest.mark.parametrize("text", [ARTICLE, CODING, "Is this comment positive or negative? The room was lovely."])
async def test_a_replay_gives_the_same_output_and_asks_nobody(world: World, text: str) -> None:
    task = await world.run(text)
    await world.simulator.delete("/_sim/requests")

    router, executor = await replayed(world, task)

    assert task["status"] == "completed"
    assert (router.is_same, executor.is_same, router.has_diverged, executor.has_diverged) == (True, True, False, False)
    assert executor.agent_name == task["selected_agent"]
    assert executor.now.output is not None
    assert executor.now.output["raw_output"] == task["result"]["raw_output"]
    assert executor.replayed_calls > 0
    assert (executor.live_calls, executor.unused_calls) == (0, 0)
    assert (executor.now.usd, executor.now.tokens) == (0, 0)
    assert executor.then.tokens > 0
    assert await world.asked() == {}


async def test_each_attempt_is_recorded_and_a_replay_follows_the_one_that_answered(world: World) -> None:
    fault: Json = {"role": "coder", "error": "500", "times": 1}
    await world.simulator.post("/_sim/faults", json=fault)
    task = await world.run(CODING)

    recordings = await recordings_of(world, task)
    executor = (await replayed(world, task))[-1]

    assert task["attempt"] == len(recordings) == 2
    assert [one.attempt for one in recordings] == [1, 2]
    failed, answered = (one.runs[-1] for one in recordings)
    assert failed.error is not None
    assert (failed.error.type, failed.output) == ("LLM_ERROR", None)
    assert answered.output is not None
    assert executor.is_same


async def test_a_task_that_failed_fails_the_same_way_again(world: World) -> None:
    await world.simulator.post("/_sim/faults", json={"role": "coder", "error": "500"})
    task = await world.run(CODING, retry={"max_attempts": 1})
    await world.simulator.delete("/_sim/faults")

    executor = (await replayed(world, task))[-1]

    assert task["error"]["type"] == "LLM_ERROR"
    assert executor.is_same
    assert executor.now.error is not None
    assert executor.now.error.type == "LLM_ERROR"


async def test_a_model_that_is_asked_live_is_compared_and_paid_for_now(world: World) -> None:
    task = await world.run(CODING)
    await world.simulator.delete("/_sim/requests")

    executor = (await replayed(world, task, live_roles=frozenset({ModelRole.CODE})))[-1]

    assert executor.live_calls > 0
    assert executor.now.tokens > 0
    assert not executor.has_diverged
    assert await world.asked() == {"coder": executor.live_calls}


async def test_another_agent_does_the_same_task_live(world: World) -> None:
    task = await world.run(CODING)

    (executor,) = await replayed(world, task, agent="EchoAgent", is_live=True)

    assert executor.agent_name == "EchoAgent"
    assert "raw_output" in executor.differences


async def test_an_output_that_was_evaluated_is_scored_again_without_asking_anybody(world: World) -> None:
    task = await world.run(CODING, evaluation={"checks": [FLAWLESS], "rubric": RUBRIC, "minimum_score": 0.1})
    await world.simulator.delete("/_sim/requests")

    *_, executor, verdict = await replayed(world, task)

    assert task["status"] == "completed"
    assert (executor.agent_role, verdict.agent_role, verdict.agent_name) == ("executor", "evaluator", "Evaluator")
    assert (verdict.is_same, verdict.replayed_calls, verdict.live_calls) == (True, 1, 0)
    score = task["result"]["evaluation"]["score"]
    assert verdict.score == Scores(score, score)
    assert executor.score is None
    assert await world.asked() == {}


async def test_another_agents_output_is_scored_by_the_recorded_evaluation(world: World) -> None:
    task = await world.run(CODING, evaluation={"checks": [FLAWLESS]})

    _, verdict = await replayed(world, task, agent="EchoAgent", is_live=True)

    assert verdict.score == Scores(1.0, 0.0)
    assert set(verdict.differences) == {"checks", "passed", "score"}


async def test_a_rubric_is_judged_live_when_the_output_is_another(world: World) -> None:
    task = await world.run(CODING, evaluation={"rubric": RUBRIC, "minimum_score": 0})

    *_, alone = await replayed(world, task, agent="EchoAgent", live_roles=frozenset({ModelRole.CODE}))
    *_, asking = await replayed(world, task, agent="EchoAgent", is_live=True)

    assert alone.has_diverged
    assert alone.score is not None
    assert (alone.score.then is None, alone.score.now) == (False, None)
    assert asking.live_calls == 1
    assert asking.score is not None
    assert asking.score.now is not None


async def test_the_last_of_several_rounds_is_the_one_that_is_scored(world: World) -> None:
    strict = {"type": "length", "min_words": 100_000}
    task = await world.run(CODING, evaluation={"checks": [strict], "retries": 1, "on_failure": "accept"})

    *_, executor, verdict = await replayed(world, task)

    assert task["result"]["evaluation"]["rounds"] == 2
    assert executor.is_same
    assert verdict.is_same
    score = task["result"]["evaluation"]["score"]
    assert verdict.score == Scores(score, score)


async def test_a_task_that_asked_nobody_is_recorded_and_replayed_too(world: World) -> None:
    echoed = await world.run("ping", agent="EchoAgent")

    (recording,) = await recordings_of(world, echoed)
    (again,) = await replayed(world, echoed)
    (other,) = await replayed(world, echoed, agent="CodeAgent", is_live=True)

    (run,) = recording.runs
    assert (run.agent_name, run.request and run.request.text, run.calls) == ("EchoAgent", "ping", ())
    assert run.output is not None
    assert run.output["raw_output"] == echoed["result"]["raw_output"]
    assert (run.started_at is None, recording.made_by) == (False, VERSION)
    assert (again.is_same, again.replayed_calls) == (True, 0)
    assert "raw_output" in other.differences


async def test_what_was_not_recorded_cannot_be_replayed(start_world: StartWorld) -> None:
    async with start_world(recording_max_bytes=0) as world:
        echoed = await world.run("ping", agent="EchoAgent")

        with pytest.raises(NothingRecorded):
            await replayed(world, echoed)

        assert await recordings_of(world, echoed) == []


async def test_recordings_are_their_tenants_and_checked_when_they_are_read(world: World, tmp_path: Path) -> None:
    task, other = await world.run(CODING), await world.run(ARTICLE)
    path = f"/v1/tasks/{task['task_id']}/recordings"
    (item,) = (await world.api.get(path)).json()["items"]
    elsewhere = await world.api.get(f"/v1/tasks/{other['task_id']}/recordings/{item['sha256']}")
    (blob,) = [found for found in (tmp_path / "artifacts").rglob(item["sha256"]) if found.is_file()]
    blob.write_bytes(b"something else")
    corrupt = await world.api.get(f"{path}/{item['sha256']}")

    assert problem_of(elsewhere, 404, "ARTIFACT_NOT_FOUND")
    assert problem_of(corrupt, 500, "ARTIFACT_CORRUPT")


async def test_a_store_that_is_away_costs_the_recording_and_not_the_task(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def away(*_: object) -> None:
        raise NotFound("the disk is gone")

    monkeypatch.setattr(ArtifactStore, "put", away)
    task = await world.run(CODING)

    assert task["status"] == "completed"
    assert await recordings_of(world, task) == []


async def test_recordings_go_with_their_task(start_world: StartWorld, tmp_path: Path) -> None:
    place = tmp_path / "artifacts"
    async with start_world(artifact_store=str(place)) as world:
        task = await world.run(CODING)
        artifacts = ArtifactStore(str(place))
        (kept,) = (await world.api.get(f"/v1/tasks/{task['task_id']}/recordings")).json()["items"]
        await artifacts.get(place_of("default", task["task_id"], Part.EXECUTIONS), kept["sha256"])

        await artifacts.delete_all(place_of("default", task["task_id"], Part.EXECUTIONS))

        with pytest.raises(NotFound):
            await artifacts.get(place_of("default", task["task_id"], Part.EXECUTIONS), kept["sha256"])


def test_what_is_no_recording_is_refused() -> None:
    whole = Recording(task_id="t", attempt=1, runs=()).packed()

    assert Recording.unpacked(whole).attempt == 1
    for broken in (b"", b"no gzip", whole[:-4], Recording(task_id="t", attempt=1, runs=()).packed()[:10]):
        with pytest.raises(RecordingUnreadable):
            Recording.unpacked(broken)


@pytest.mark.long
@pytest.mark.timeout(200)
async def test_the_command_compares_and_its_exit_code_tells_ci(world: World, tmp_path: Path) -> None:
    task = await world.run(CODING, evaluation={"checks": [FLAWLESS]})
    changed = tmp_path / "generate.md"
    changed.write_text("Answer with one word.")

    same = await orchestrate(world, "replay", task["task_id"], "--json")
    diverged = await orchestrate(world, "replay", task["task_id"], "--prompt", f"code_generate={changed}")
    misspelt = await orchestrate(world, "replay", task["task_id"], "--prompt", f"code_generrate={changed}")
    unknown = await orchestrate(world, "replay", "no-such-task")

    assert same.returncode == SAME, same.stderr
    runs = json.loads(same.stdout)["runs"]
    assert [(run["agent_role"], run["is_same"]) for run in runs] == [
        ("router", True),
        ("executor", True),
        ("evaluator", True),
    ]
    assert runs[-1]["score"] == {"then": 1.0, "now": 1.0}
    assert diverged.returncode == DIVERGED, diverged.stderr
    assert "+Answer with one word." in diverged.stdout
    assert misspelt.returncode == USAGE
    assert "code_generrate" in misspelt.stderr
    assert unknown.returncode == USAGE
    assert "TASK_NOT_FOUND" in unknown.stderr


async def orchestrate(world: World, *arguments: str) -> "subprocess.CompletedProcess[str]":
    """The command in a process of its own: what it does to prompts must not stay."""
    environment = {**os.environ, "ORCHESTRATE_URL": str(world.api.client.base_url), "COLUMNS": "200"}
    return await asyncio.to_thread(
        subprocess.run,
        [sys.executable, "-m", "app.cli.main", *arguments],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
