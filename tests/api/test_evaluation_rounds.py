"""Outputs that are evaluated round after round, and reviewed later: what is kept of them, and what they may cost."""

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import bson
import pytest

from app.agents.base import AgentOutput, AgentRequest, AgentTools, BaseAgent
from app.agents.specs import AgentSpec
from app.bootstrap.retention import belongings_of
from app.jobs.retention import EXPIRED_TENANT, ExpiredJob
from app.llm.usage import ModelRole
from tests.api.harness import Json
from tests.api.test_replay import recordings_of
from tests.api.world import StartWorld, World

STRICT = {"type": "length", "min_words": 100_000}
FLAG = {"checks": [STRICT], "retries": 0, "on_failure": "flag"}


LONGEST_KEPT = 64 * 1024
LARGEST_DOCUMENT = 16 * 1024 * 1024


class DrawingAgent(BaseAgent):
    """Draws something else each time it is told what was wrong."""

    async def run(self, request: AgentRequest, tools: AgentTools) -> AgentOutput:
        drawn = f"{request.text} {request.feedback}"
        drawing = await tools.artifacts.put("drawing.txt", drawn.encode(), "text/plain")
        return AgentOutput("Drawn.", "Drawn.", artifacts=(drawing,))


class LongWindedAgent(BaseAgent):
    """Answers with as much as is kept of a run, in characters of three bytes."""

    async def run(self, request: AgentRequest, tools: AgentTools) -> AgentOutput:
        return AgentOutput("Long.", "\u5b57" * LONGEST_KEPT)


DRAWING = AgentSpec(
    name="DrawingAgent",
    agent_type="drawing",
    description="Draws.",
    examples=("Draw this",),
    model_role=ModelRole.PEER,
    factory=f"{__name__}:DrawingAgent",
    routable=False,
)
LONG_WINDED = replace(DRAWING, name="LongWindedAgent", agent_type="long-winded", factory=f"{__name__}:LongWindedAgent")


@pytest.fixture
async def world(start_world: StartWorld, tmp_path: Path) -> AsyncIterator[World]:
    async with start_world(DRAWING, LONG_WINDED, artifact_store=str(tmp_path / "blobs")) as started:
        yield started


async def review(world: World, task: Json, decision: str) -> Json:
    await world.api.post(f"/v1/tasks/{task['task_id']}/review", body={"decision": decision})
    return await world.go_on(task["task_id"])


async def test_what_was_made_in_every_round_is_deleted_with_its_task(world: World, tmp_path: Path) -> None:
    evaluation = {"checks": [STRICT], "retries": 1, "on_failure": "accept"}
    task = await world.run("Draw this", agent="DrawingAgent", evaluation=evaluation)
    made = [path for path in (tmp_path / "blobs").rglob("*") if path.parent.name == "outputs"]
    change = {"$set": {"tenant_id": EXPIRED_TENANT, "expired_tenant_id": "default"}}
    await world.api.core.tasks.update_one({"_id": task["task_id"]}, change)

    for delete_belongings in belongings_of(world.api.core):
        await delete_belongings([ExpiredJob(task["task_id"], "default")])

    assert (task["result"]["evaluation"]["rounds"], len(made)) == (2, 2)
    assert [path for path in (tmp_path / "blobs").rglob("*") if path.is_file()] == []


async def test_whoever_reviews_an_output_can_look_at_its_artifacts(world: World) -> None:
    task = await world.run("Draw this", agent="DrawingAgent", evaluation=FLAG)
    path = f"/v1/tasks/{task['task_id']}/artifacts"

    listed = (await world.api.get(path)).json()["items"]
    (drawing,) = [one for one in listed if one["kind"] == "output"]
    shown = await world.api.get(f"{path}/{drawing['sha256']}")

    assert task["status"] == "awaiting_approval"
    assert shown.text == "Draw this None"


@pytest.mark.parametrize(("decision", "ended"), [("accept", ("completed", None)), ("reject", ("failed", "REJECTED"))])
async def test_a_reviewed_output_needs_no_budget_any_more(
    world: World, decision: str, ended: tuple[str, str | None]
) -> None:
    path = "/v1/budgets/tenant/default"
    await world.api.client.put(path, json={"day": {"wall_seconds": 0.001}})
    waiting = await world.run("Draw this", agent="DrawingAgent", evaluation=FLAG)
    (limit,) = (await world.api.get(path)).json()["limits"]

    task = await review(world, waiting, decision)
    (ending,) = (await world.api.core.store.get(task["task_id"])).document["history"][-1:]

    assert limit["remaining"] == 0
    assert (task["status"], (task["error"] or {}).get("type")) == ended
    assert ending["label"] == "DrawingAgent"


async def test_an_output_is_judged_by_what_its_client_said_when_asked(world: World) -> None:
    evaluation = {"checks": [STRICT], "retries": 0, "on_failure": "accept"}
    asked = await world.run("Do the thing.", clarify=True, evaluation=evaluation)
    words = "I mean: write a Go function to reverse a string"
    answer = await world.api.post(f"/v1/tasks/{asked['task_id']}/clarify", body={"text": words})

    task = await world.go_on(asked["task_id"])

    assert (answer.status_code, task["status"]) == (202, "completed")
    judged = [run for one in await recordings_of(world, task) for run in one.runs if run.agent_role == "evaluator"]
    assert [run.request.text for run in judged if run.request] == [f"Do the thing.\n\n{words}"]


async def test_runs_never_outgrow_the_document_of_their_task(world: World) -> None:
    evaluation = {"checks": [STRICT], "retries": 3}
    failed = await world.run("Write much", agent="LongWindedAgent", evaluation=evaluation)
    stored = (await world.api.core.store.get(failed["task_id"])).document["agent_runs"]
    # Of retries by hand, which an older version kept in full.
    many = stored * (LARGEST_DOCUMENT // len(bson.encode({"": stored})))
    await world.api.core.tasks.update_one({"_id": failed["task_id"]}, {"$set": {"agent_runs": many}})
    await world.api.post(f"/v1/tasks/{failed['task_id']}/retry")

    again = await world.go_on(failed["task_id"])

    assert again["error"]["type"] == "EVALUATION_FAILED"
    assert len(again["agent_runs"]) == len(many) + len(stored)
