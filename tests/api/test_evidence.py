"""What policies and people decided leaves evidence: there before anything names it, checked, and gone with its work."""

import asyncio
import hashlib
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from app.artifacts.models import FoundArtifact
from app.bootstrap.executions import build_execution_artifacts
from app.bootstrap.retention import belongings_of
from app.ids import day_of
from app.jobs.lanes import Stage
from app.jobs.retention import ExpiredJob
from app.tasks.artifacts import find_artifact
from tests.api.hands import Hands
from tests.api.harness import Json
from tests.api.world import PATIENCE, StartWorld, World

POLICY = """
version: 1
rules:
  - {name: no-deletions, applies_to: [task], when: 'task.text.contains("delete")', decide: deny}
  - {name: no-risks, applies_to: [task], when: scores.risk > 0.99, decide: deny}
  - {name: careful, applies_to: [task], when: 'task.text.contains("careful")', decide: require_approval}
  - {name: announcements, applies_to: [step], when: 'step.path == "say"', decide: require_approval}
"""
WORKFLOW = """
version: 1
name: asking
steps:
  say: {agent: EchoAgent, with: {task: hello}}
  ask: {needs: [say], approval: {message: "Send it?", form: {why: {type: string}}}}
"""
SECRET = "sk-a-key-that-nobody-may-see"


@pytest.fixture
async def world(start_world: StartWorld, tmp_path: Path) -> AsyncIterator[World]:
    (tmp_path / "policy.yaml").write_text(POLICY, "utf-8")
    settings = {"policy_file": str(tmp_path / "policy.yaml"), "artifact_store": str(tmp_path / "blobs")}
    async with start_world(**settings, anthropic_api_key=SECRET, retry_initial_sec=0.02) as started:
        yield started


def blobs_in(folder: Path) -> set[str]:
    """Their paths in the store."""
    return {str(path.relative_to(folder / "blobs")) for path in (folder / "blobs").rglob("*") if path.is_file()}


async def evidence_of(world: World, owner: str) -> dict[str, tuple[Json, Json]]:
    """By name, each as it is listed and what it says, of whose bytes the digest was checked."""
    listed = (await world.api.get(f"{owner}/artifacts")).json()["items"]
    found = {}
    for one in (one for one in listed if one["kind"] != "output"):
        answer = await world.api.get(f"{owner}/artifacts/{one['sha256']}")
        assert hashlib.sha256(answer.content).hexdigest() == one["sha256"]
        assert (len(answer.content), answer.headers["content-type"]) == (one["size"], one["media_type"])
        is_document = one["media_type"] == "application/json"
        found[one["name"]] = (one, json.loads(answer.content) if is_document else {})
    return found


async def found_by_digest(world: World, sha256: str) -> FoundArtifact | None:
    core = world.api.core
    of_task = await find_artifact(core.repository, "default", sha256)
    return of_task or await build_execution_artifacts(core).find("default", sha256)


async def pending(world: World) -> list[Json]:
    return list((await world.api.get("/v1/approvals", params={"status": "pending"})).json()["items"])


async def work_until_asked(world: World, hands: Hands) -> None:
    async with asyncio.timeout(PATIENCE):
        while not await pending(world):
            await hands.take_up()
            await hands.rest()


async def decide(world: World, **body: Any) -> Json:
    """What a person says of the one approval that waits, and how that approval is shown then."""
    (item,) = await pending(world)
    path = f"/v1/approvals/{item['approval_id']}"
    answer = await world.api.client.post(f"{path}/decisions", json=body, headers={"If-Match": "*"})
    assert answer.status_code == 200, answer.text
    return dict((await world.api.get(path)).json())


async def test_a_decision_is_kept_once_with_all_that_it_was_made_from(world: World, tmp_path: Path) -> None:
    task_id = await world.api.submit(f"a plain text with {SECRET}", agent="EchoAgent")
    owner = f"/v1/tasks/{task_id}"

    await world.runner.run(task_id, worker=world.name, stage=Stage.EVALUATION)
    evaluated = await evidence_of(world, owner)
    task = await world.go_on(task_id)
    after = await evidence_of(world, owner)

    listed, said = evaluated["evaluation-1.json"]
    assert (task["status"], list(evaluated)) == ("completed", ["evaluation-1.json"])
    assert list(after) == ["evaluation-1.json", "execution-1.json.gz"]
    assert (said["version"], said["kind"], said["attempt"], listed["attempt"]) == (1, "task", 1, 1)
    assert said["subject"] == {"task_id": task_id, "tenant_id": "default"}
    decided = {name: task["policy"][name] for name in ("effect", "rule", "reasons", "digest", "approval_id")}
    assert said["decision"] == decided
    assert (said["facts"]["task.text"], said["facts"]["agent.name"]) == ("a plain text with [redacted]", "EchoAgent")
    assert {name: one["weight"] for name, one in by_name(said["scores"]["scores"]["risk"]["features"]).items()}
    assert said["facts"]["scores.risk"] == said["scores"]["scores"]["risk"]["value"]
    place = f"default/{day_of(task_id)}/{task_id}"
    assert {f"{place}/evaluations/{listed['sha256']}", f"{place}/executions/{sha_of(after)}"} == blobs_in(tmp_path)
    for one, _ in after.values():
        found = await found_by_digest(world, one["sha256"])
        assert found is not None
        assert (found.task_id, found.name, found.kind) == (task_id, one["name"], one["kind"])
    assert await find_artifact(world.api.core.repository, "another", listed["sha256"]) is None


def by_name(features: list[Json]) -> dict[str, Json]:
    return {one["name"]: one for one in features}


def sha_of(evidence: dict[str, tuple[Json, Json]]) -> str:
    return str(evidence["execution-1.json.gz"][0]["sha256"])


async def test_what_people_said_is_evidence_of_the_work_that_went_on(world: World, tmp_path: Path) -> None:
    held = await world.run("a careful text", agent="EchoAgent")
    owner = f"/v1/tasks/{held['task_id']}"
    before = await evidence_of(world, owner)

    shown = await decide(world, decision="approve", comment="as I have it", edited_input="a better text")
    await world.go_on(held["task_id"])
    after = await evidence_of(world, owner)

    name = f"approval-{shown['approval_id']}.json"
    assert list(before) == ["evaluation-1.json"]
    assert before["evaluation-1.json"][1]["decision"]["approval_id"] == shown["approval_id"]
    assert list(after) == ["evaluation-1.json", name, "execution-1.json.gz"]
    listed, record = after[name]
    assert (listed["sha256"], listed["kind"]) == (shown["evidence_sha256"], "approval")
    assert (record["status"], record["outcome"], record["version"]) == ("approved", "approved", shown["version"])
    assert record["subject"]["policy"] == {"rule": "careful", "digest": held["policy"]["digest"]}
    assert record["proposed_input"] == {"sha256": hashlib.sha256(b"a careful text").hexdigest(), "size": 14}
    assert "+a better text" in record["edit"]["diff"]
    assert [one["comment"] for one in record["decisions"]] == ["as I have it"]
    assert [one["event"] for one in record["history"]] == ["requested", "approved"]

    for delete_belongings in belongings_of(world.api.core):
        await delete_belongings([ExpiredJob(held["task_id"], "default")])
    assert blobs_in(tmp_path) == set()
    assert not (tmp_path / "blobs" / "default").exists()


async def test_what_is_denied_leaves_evidence_as_well(world: World) -> None:
    denied = await world.run("delete everything", agent="EchoAgent")

    found = await evidence_of(world, f"/v1/tasks/{denied['task_id']}")

    assert (denied["error"]["type"], list(found)) == ("POLICY_DENIED", ["evaluation-1.json"])
    assert found["evaluation-1.json"][1]["decision"]["rule"] == "no-deletions"


async def test_nothing_is_done_while_the_evidence_of_its_decision_cannot_be_kept(world: World, tmp_path: Path) -> None:
    (tmp_path / "blobs").write_text("no folder")
    waiting = await world.attempt("a plain text", agent="EchoAgent")
    (tmp_path / "blobs").unlink()

    done = await world.go_on(waiting["task_id"])

    assert (waiting["status"], waiting["agent_runs"]) == ("queued", [])
    assert waiting["error"]["type"] == "ARTIFACT_STORE_UNAVAILABLE"
    assert done["status"] == "completed"
    assert "evaluation-1.json" in await evidence_of(world, f"/v1/tasks/{done['task_id']}")


async def test_steps_have_the_evidence_of_policies_and_of_approvals_that_workflows_declare(world: World) -> None:
    hands = Hands(world.api, [world.worker])
    execution_id = await hands.begin(WORKFLOW, {})
    await work_until_asked(world, hands)
    policed = await decide(world, decision="approve")
    await work_until_asked(world, hands)
    declared = await decide(world, decision="approve", form={"why": "it is good"})

    execution = await hands.go_on(execution_id)
    owner = f"/v1/executions/{execution_id}"
    items = (await world.api.get(f"{owner}/artifacts")).json()["items"]
    found = await evidence_of(world, owner)

    assert execution.status == "completed", execution.document["fault"]
    assert [(one["path"], one["name"], one["kind"]) for one in items] == [
        ("say", "evaluation-1.json", "evaluation"),
        ("say", f"approval-{policed['approval_id']}.json", "approval"),
        ("say", "execution-1.json.gz", "execution"),
        ("ask", f"approval-{declared['approval_id']}.json", "approval"),
    ]
    assert items[3]["sha256"] == declared["evidence_sha256"]
    assert found[items[3]["name"]][1]["decisions"][0]["form"] == {"why": "it is good"}
    for one in items:
        there = await found_by_digest(world, one["sha256"])
        assert there is not None
        assert (there.execution_id, there.step) == (execution_id, one["path"])
        assert there.place.startswith(f"default/{day_of(execution_id)}/{execution_id}/")
