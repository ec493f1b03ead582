"""Executions in the numbers of the system: what they cost, how many are open, how many ended, how many may wait."""

from datetime import timedelta

import pytest

from app.bootstrap.retention import build_execution_retention
from app.bootstrap.verification import build_verifier
from app.governance.approvals.repository import COLLECTION as APPROVALS
from app.jobs.workers import COLLECTION as WORKERS
from app.jobs.workers import WorkerIdentity, registration
from app.workflows.executions.models import Fork
from tests.api.conftest import StartApi
from tests.api.hands import Hands
from tests.api.harness import WRITING, problem_of
from tests.api.test_executions import FAILING
from tests.api.test_executions_driven import CHAIN
from tests.api.world import StartWorld, World

WRITTEN = """
version: 1
name: written
steps:
  write:
    agent: ContentAgent
    with: {task: Write one sentence about tea}
"""
CONSENT = """
version: 1
name: consent
steps:
  ask: {approval: {message: Go on?}}
"""
ECHOES = """
version: 1
name: echoes
steps:
  say: {agent: EchoAgent, with: {task: hello}}
"""


@pytest.fixture
async def hands(world: World) -> Hands:
    return Hands(world.api, [world.worker])


async def test_what_a_step_cost_is_in_the_usage_of_its_tenant_and_agent(hands: Hands) -> None:
    execution = await hands.run(WRITTEN)
    assert await hands.workers[0].upkeep.run_once()

    usage = (await hands.api.get("/v1/usage?group_by=agent")).json()

    cost = execution.document["cost"]
    assert cost["total_tokens"] > 0
    assert usage["total"]["tokens"] == cost["total_tokens"]
    assert usage["total"]["usd"] == pytest.approx(cost["usd"])
    assert [(one["key"], one["model_calls"]) for one in usage["items"]] == [("ContentAgent", cost["model_calls"])]


async def test_the_metrics_say_how_many_executions_are_open_and_what_they_do(hands: Hands) -> None:
    await hands.run(CONSENT)
    await hands.run(ECHOES)
    await hands.begin(ECHOES)

    found = (await hands.api.get("/v1/system/metrics")).json()["executions_per_status"]

    assert found == {"queued": 1, "processing": 0, "waiting": 0, "awaiting_approval": 1, "paused": 0}


async def test_a_worker_counts_the_executions_and_steps_that_it_ends(hands: Hands) -> None:
    await hands.run(CHAIN, {"text": "hello"})

    exposed = hands.workers[0].core.metrics.expose().decode()

    for line in (
        "executions_started_total 1.0",
        'executions_finished_total{status="completed"} 1.0',
        'execution_duration_seconds_count{status="completed"} 1.0',
        'steps_finished_total{kind="agent",status="completed"} 2.0',
        'step_duration_seconds_count{kind="agent"} 2.0',
    ):
        assert line in exposed.splitlines()


async def test_executions_that_ended_or_wait_break_no_promise_however_long_ago_that_was(hands: Hands) -> None:
    core = hands.api.core
    await hands.run(CHAIN, {"text": "hello"})
    await hands.run(CONSENT)
    failed = await hands.run(FAILING)
    await hands.api.post(f"/v1/executions/{failed.id}/retry")
    await hands.go_on(failed.id)
    asleep = await hands.run(CONSENT)
    await hands.api.post(f"/v1/executions/{asleep.id}/pause")
    await hands.go_on(asleep.id, until=lambda job: job.status == "awaiting_approval")
    assert await hands.workers[0].upkeep.run_once()
    identity = WorkerIdentity("w0", "host", 1, ("workflow_steps",), 10, "1")
    await core.documents(WORKERS).insert(registration(identity, now=core.clock(), lease=timedelta(days=1)))

    # As the upkeep leaves them, which looks at new ones after a while only.
    await core.documents(APPROVALS).update_many({}, {"$set": {"look_at": None}})
    later = build_verifier(core.settings, core.database, clock=lambda: core.clock() + timedelta(hours=1))
    report = await later._look()

    assert [finding for finding in report.findings if not finding.ok] == []


async def test_executions_and_tasks_share_what_may_wait(start_api: StartApi) -> None:
    keys = "acme-key-1:acme,globex-key-1:globex"
    acme, globex = {"X-API-Key": "acme-key-1"}, {"X-API-Key": "globex-key-1"}
    async with start_api(max_tenant_backlog=1, api_keys=keys) as api:
        for headers in (acme, globex):
            await api.post("/v1/workflows", content=ECHOES, headers={**headers, "Content-Type": "application/yaml"})
        await api.submit(headers=acme)

        refused = await api.post("/v1/workflows/echoes/execute", json={}, headers=acme)
        other = await api.post("/v1/workflows/echoes/execute", json={}, headers=globex)
        task_of_other = await api.execute(WRITING, headers=globex)

    problem_of(refused, 429, "TENANT_BACKLOG_FULL")
    assert int(refused.headers["Retry-After"]) >= 1
    assert other.status_code == 202, other.text
    problem_of(task_of_other, 429, "TENANT_BACKLOG_FULL")


async def test_a_fork_of_an_execution_that_was_deleted_meanwhile_fails_and_repeats_nothing(
    start_world: StartWorld,
) -> None:
    async with start_world(task_retention_days=1) as world:
        hands = Hands(world.api, [world.worker])
        origin = await hands.run(CHAIN, {"text": "hello"})
        fork = await hands.begin(CHAIN, {"text": "hello"}, fork=Fork(origin.id, "second"))
        # Its deletion was decided before the fork was there.
        deleted = {"tenant_id": "_expired", "expired_tenant_id": "default"}
        await world.api.core.executions.documents.update_one({"_id": origin.id}, {"$set": deleted})
        assert await build_execution_retention(world.api.core).delete_batches() == 1

        execution = await hands.go_on(fork)

        assert (execution.status, execution.error and execution.error.type) == ("failed", "FORK_ORIGIN_GONE")
        assert await hands.steps(fork) == {}


async def test_the_upkeep_of_a_worker_deletes_old_executions(start_world: StartWorld) -> None:
    async with start_world(task_retention_days=1) as world:
        hands = Hands(world.api, [world.worker])
        execution = await hands.run(CHAIN, {"text": "hello"})
        documents = world.api.core.executions.documents
        long_ago = {"completed_at": world.api.core.clock() - timedelta(days=2)}
        await documents.update_one({"_id": execution.id}, {"$set": long_ago})

        assert await world.worker.upkeep.run_once()

        assert (await world.api.get(f"/v1/executions/{execution.id}")).status_code == 404
        assert await hands.steps(execution.id) == {}
