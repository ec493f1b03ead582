"""What is left of tasks and executions that are deleted for their age: nothing, wherever it was kept."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from app.artifacts.places import Part, place_of
from app.bootstrap.retention import build_execution_retention, build_retention
from app.metrics.rollups import UNCHARGED
from app.workflows.executions.values import LARGEST_INLINE
from tests.api.hands import PATIENCE, POLL, Hands
from tests.api.harness import Api
from tests.api.test_execution_artifacts import DRAWING
from tests.api.world import StartWorld, World

POLICY = """
version: 1
rules:
  - {name: careful, applies_to: [task, step], when: 'agent.name == "DrawingAgent"', decide: require_approval}
"""
DRAWN = """
version: 1
name: drawn
inputs: {text: {type: string}}
steps:
  note: {agent: EchoAgent, with: {task: "${{ inputs.text }}"}}
  write: {agent: ContentAgent, with: {task: Write a short post about queues}}
  check: {approval: {message: "Draw it?"}}
  draw: {needs: [note, write, check], agent: DrawingAgent, with: {task: a house}}
"""


@pytest.fixture
async def world(start_world: StartWorld, tmp_path: Path) -> AsyncIterator[World]:
    (tmp_path / "policy.yaml").write_text(POLICY, "utf-8")
    given = {"policy_file": str(tmp_path / "policy.yaml"), "artifact_store": str(tmp_path / "blobs")}
    async with start_world(DRAWING, task_retention_days=1, **given) as started:
        yield started


async def approve_all(api: Api) -> None:
    for one in (await api.get("/v1/approvals?status=pending")).json()["items"]:
        path = f"/v1/approvals/{one['approval_id']}/decisions"
        answer = await api.post(path, {"decision": "approve"}, headers={"If-Match": "*"})
        assert answer.status_code == 200, answer.text


async def carry_out(hands: Hands, execution_id: str) -> None:
    """To its end. What is asked is approved once nobody works: no upkeep is there to notice an earlier answer."""
    async with asyncio.timeout(PATIENCE):
        while not (execution := await hands.api.core.executions.store.get(execution_id)).status.is_final:
            await hands.take_up()
            await hands.rest()
            await approve_all(hands.api)
            await asyncio.sleep(POLL)
    assert execution.status == "completed", execution.document["fault"]


def parts_of(folder: Path, place: str) -> set[str]:
    """The parts of a place that hold anything."""
    files = [path for path in (folder / place).rglob("*") if path.is_file()]
    return {path.relative_to(folder / place).parts[0] for path in files}


async def age(documents: Any, api: Api, job_id: str) -> None:
    changes = {"uncounted": False, "completed_at": api.core.clock() - timedelta(days=2)}
    assert await documents.update_one({"_id": job_id, "status": "completed"}, {"$set": changes})


async def test_nothing_stays_of_a_task_in_the_artifact_store_or_in_any_collection(world: World, tmp_path: Path) -> None:
    api = world.api
    task = await world.run("a house", agent="DrawingAgent")
    await approve_all(api)
    task = await world.go_on(task["task_id"])
    before = parts_of(tmp_path / "blobs", place_of("default", task["task_id"]))
    await age(api.core.tasks, api, task["task_id"])

    assert await build_retention(api.core).delete_batches() == 1

    assert before == {Part.EVALUATIONS, Part.APPROVALS, Part.OUTPUTS, Part.EXECUTIONS}
    assert list((tmp_path / "blobs").rglob("*")) == []
    assert await left_in(api, {"task_id": task["task_id"]}, "messages", "approvals", "effects", "checkpoints") == {}


async def test_nothing_stays_of_an_execution_and_its_steps(world: World, tmp_path: Path) -> None:
    api, hands = world.api, Hands(world.api, [world.worker])
    execution_id = await hands.begin(DRAWN, {"text": "x" * (LARGEST_INLINE + 1)})
    await carry_out(hands, execution_id)
    before = parts_of(tmp_path / "blobs", place_of("default", execution_id))
    await api.core.steps.documents.update_many({"execution_id": execution_id}, {"$set": {UNCHARGED: False}})
    await age(api.core.executions.documents, api, execution_id)

    assert await build_execution_retention(api.core).delete_batches() == 1

    assert before == {Part.VALUES, Part.EVALUATIONS, Part.APPROVALS, Part.OUTPUTS, Part.EXECUTIONS}
    assert list((tmp_path / "blobs").rglob("*")) == []
    assert await left_in(api, {"execution_id": execution_id}, "steps", "approvals", "workflow_signals") == {}


async def left_in(api: Api, where: dict[str, Any], *collections: str) -> dict[str, int]:
    """How many documents each of the collections still has, if any."""
    counts = {name: await api.core.documents(name).count(where, limit=100) for name in collections}
    return {name: count for name, count in counts.items() if count}
