"""Tasks of a tenant with a policy: evaluated on a queue of their own, before the work that waits."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from app.jobs.broker import EVALUATION_QUEUE, TASK_QUEUE
from app.jobs.lanes import Stage
from tests.api.harness import Json
from tests.api.world import StartWorld, World

POLICY = """
version: 1
rules:
  - {name: no-deletions, applies_to: [task], when: 'task.text.contains("delete")', decide: deny}
  - {name: careful, applies_to: [task], when: 'task.text.contains("careful")', decide: require_approval}
"""


@pytest.fixture
async def governed(start_world: StartWorld, tmp_path: Path) -> AsyncIterator[World]:
    (tmp_path / "policy.yaml").write_text(POLICY, "utf-8")
    async with start_world(policy_file=str(tmp_path / "policy.yaml")) as world:
        yield world


async def evaluate(world: World, text: str) -> Json:
    """The task after what its message on the queue of evaluations had a worker do."""
    task_id = await world.api.submit(text, agent="EchoAgent")
    await world.runner.run(task_id, worker=world.name, stage=Stage.EVALUATION)
    return await world.api.read(task_id)


async def test_what_is_denied_or_needs_people_is_known_before_anything_was_done(governed: World) -> None:
    denied = await evaluate(governed, "delete everything")
    held = await evaluate(governed, "a careful text")

    assert (denied["status"], denied["error"]["type"]) == ("failed", "POLICY_DENIED")
    assert (held["status"], held["agent_runs"]) == ("awaiting_approval", [])


async def test_what_is_allowed_waits_for_a_worker_that_does_it(governed: World) -> None:
    between = await evaluate(governed, "a plain text")
    why = (await governed.api.get(f"/v1/tasks/{between['task_id']}/why")).json()
    not_again = await governed.runner.run(between["task_id"], worker=governed.name, stage=Stage.EVALUATION)
    done = await governed.go_on(between["task_id"])

    assert (between["status"], between["attempt"], between["selected_agent"]) == ("queued", 0, "EchoAgent")
    assert between["policy"]["effect"] == "allow"
    assert why["facts"]["queue"] == TASK_QUEUE
    assert not_again is None
    assert (done["status"], done["attempt"]) == ("completed", 1)
    assert [entry["reason"] for entry in done["history"]] == [
        "accepted", "claimed", "evaluated", "claimed", "finished"
    ]  # fmt: skip


async def test_until_then_it_waits_on_the_queue_of_evaluations(governed: World) -> None:
    task_id = await governed.api.submit("a plain text", agent="EchoAgent")

    why = (await governed.api.get(f"/v1/tasks/{task_id}/why")).json()

    assert why["facts"]["queue"] == EVALUATION_QUEUE
    assert f"no worker that serves `{EVALUATION_QUEUE}` is alive" in why["explanation"]


async def test_one_worker_may_do_both_in_one_go(governed: World) -> None:
    task_id = await governed.api.submit("a plain text", agent="EchoAgent")

    task = await governed.go_on(task_id)

    assert task["status"] == "completed"
    assert task["attempt"] == 1


async def test_a_dry_run_is_routed_without_a_stage_of_its_own(governed: World) -> None:
    answer = await governed.api.post("/v1/agent/route?wait=1", {"task": "Write about tea"})

    why = (await governed.api.get(f"/v1/tasks/{answer.json()['task_id']}/why")).json()
    assert why["facts"]["queue"] == TASK_QUEUE
