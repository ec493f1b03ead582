"""Scores at work: policies decide by them, and what they decided by is kept with the work."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.api.hands import Hands
from tests.api.harness import Json
from tests.api.world import World, started_world, world_settings
from tests.processes import Server

POLICY = """
version: 1
auto_approve: {risk_below: 0.2}
rules:
  - {name: too-risky, applies_to: [task, step], when: scores.risk > 0.5, decide: deny}
  - {name: somebody-looks, applies_to: [task, step], decide: require_approval}
"""
RISKY = "Delete, purge and wipe it all; the password: hunter22"
WORKFLOW = """
version: 1
name: saying
inputs: {text: {type: string}}
steps:
  round:
    loop: {until: "true", max_iterations: 3}
    steps:
      say: {agent: EchoAgent, with: {task: "${{ inputs.text }}"}, output: {raw_output: {type: string}}}
"""


@pytest.fixture
async def world(store: Server, redis_url: str, simulator: Server, tmp_path: Path) -> AsyncIterator[World]:
    (tmp_path / "policy.yaml").write_text(POLICY, "utf-8")
    settings = world_settings(store, redis_url, simulator, policy_file=str(tmp_path / "policy.yaml"))
    async with started_world(settings, simulator) as started:
        yield started


def value_of(work: Json, dimension: str) -> float:
    return float(work["scores"]["scores"][dimension]["value"])


async def test_a_task_of_little_risk_needs_nobody_and_shows_its_scores(world: World) -> None:
    task = await world.run("Say hello", agent="EchoAgent")
    asked = await world.api.post("/v1/evaluations", {"task": "Say hello", "agent": "EchoAgent"})

    assert (task["status"], task["policy"]["effect"]) == ("completed", "allow")
    assert task["scores"]["scoring_version"] == 1
    assert task["scores"] == {name: asked.json()[name] for name in task["scores"]}


async def test_a_task_of_much_risk_is_denied_with_the_scores_that_say_why(world: World) -> None:
    task = await world.run(RISKY, agent="EchoAgent")

    assert (task["status"], task["policy"]["rule"]) == ("failed", "too-risky")
    assert value_of(task, "risk") > 0.5


async def test_a_task_in_between_waits_for_somebody(world: World) -> None:
    task = await world.run("Delete it", agent="EchoAgent", input={"to": "ada@example.com"})

    assert (task["status"], task["policy"]["rule"]) == ("awaiting_approval", "somebody-looks")
    assert 0.2 <= value_of(task, "risk") <= 0.5


async def test_a_step_is_scored_with_what_it_is_given_where_it_stands(world: World) -> None:
    hands = Hands(world.api, [world.worker])

    denied = await hands.run(WORKFLOW, {"text": RISKY})
    allowed = await hands.run(WORKFLOW, {"text": "hello"})

    (_, refused), (_, said) = [
        next(item for item in (await hands.steps(one.id)).items() if item[0].endswith("say"))
        for one in (denied, allowed)
    ]
    assert (denied.status, allowed.status) == ("failed", "completed")
    assert refused["policy"]["rule"] == "too-risky"
    assert value_of(refused, "risk") > 0.5
    depth = next(one for one in said["scores"]["scores"]["risk"]["features"] if one["name"] == "depth")
    assert depth["value"] == 0.125


async def test_work_is_not_scored_where_no_rule_asks_for_it(world: World) -> None:
    text = b"version: 1\nrules: [{name: all, applies_to: [task], decide: allow}]"
    await world.api.client.put("/v1/policies/current", content=text, headers={"Content-Type": "application/yaml"})

    task = await world.run(RISKY, agent="EchoAgent")

    assert (task["policy"]["rule"], task["scores"]) == ("all", None)


async def test_a_dry_run_scores_past_tasks(world: World) -> None:
    await world.run("Say hello", agent="EchoAgent")
    await world.run(RISKY, agent="EchoAgent")
    policy = "version: 1\nrules: [{name: cautious, applies_to: [task], when: scores.risk > 0.5, decide: deny}]"

    tried = (await world.api.post("/v1/policies/dry-run", {"policy": policy})).json()

    assert (tried["examined"], tried["after"]) == (2, {"allow": 1, "deny": 1})


async def test_a_dry_run_over_past_steps_sees_what_they_were_given_and_goes_back_in_time(world: World) -> None:
    hands = Hands(world.api, [world.worker])
    allowed = await hands.run(WORKFLOW, {"text": "hello"})
    denied = await hands.run(WORKFLOW, {"text": RISKY})
    policy = """
version: 1
rules:
  - {name: greetings, applies_to: [step], when: 'step.input.with.task == "hello" && scores.risk < 0.5', decide: deny}
"""

    async def tried(**window: object) -> Json:
        body = {"policy": policy, "of": "steps", **window}
        found: Json = (await world.api.post("/v1/policies/dry-run", body)).json()
        return found

    both, newest = await tried(), await tried(limit=1)
    before = await tried(until=newest["oldest"])

    assert (both["examined"], both["before"]) == (2, {"allow": 1, "deny": 1})
    changes = [(one["execution_id"], one["path"], one["after"]["effect"], one["task_id"]) for one in both["changes"]]
    assert sorted(changes) == sorted(
        [(allowed.id, "round[1].say", "deny", None), (denied.id, "round[1].say", "allow", None)]
    )
    assert [one["execution_id"] for one in newest["changes"]] == [denied.id]
    assert [one["execution_id"] for one in before["changes"]] == [allowed.id]
