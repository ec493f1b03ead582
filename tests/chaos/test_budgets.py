"""Hard budgets while workers are killed in the middle of calls: what the provider bills never exceeds the promise."""

import json
from collections.abc import Iterator

import pytest
from pymongo import MongoClient

from app.governance.budgets.ledger import COLLECTION
from tests.chaos.client import EXECUTE, FINAL, ChaosClient, Json
from tests.chaos.conftest import StartWorld
from tests.chaos.nemesis import Nemesis, kill_worker
from tests.chaos.provider import Provider
from tests.chaos.verdict import Verdict
from tests.chaos.world import DATABASE, World
from tests.processes import until

TASKS = 60
LIMITS = {"model_calls": 40, "tokens": 12_000}
# With the margin of the ledger, an open reservation counts in full after 32 s.
SETTINGS = {"LLM_TIMEOUT_SEC": "1", "LLM_MAX_TOKENS": "512", "TASK_MAX_ATTEMPTS": "20", "RETRY_MAXIMUM_SEC": "2"}
ABANDONED = 32.0
RESTS = FINAL | {"awaiting_approval"}


def submit(client: ChaosClient, number: int) -> str:
    """Half of them ask at the limit, the others fail. Each call takes a while, so that kills hit some of them."""
    text = f"Write a Python function that adds {number}. [[sim latency=0.3]]"
    budget = {"model_calls": 9, "on_exceeded": "ask" if number % 2 else "fail"}
    answer = client.post(EXECUTE, {"task": text, "agent": "CodeAgent", "budget": budget})
    assert answer.status == 202, answer
    return answer.task_id


def accounts(world: World) -> list[Json]:
    with MongoClient[Json](world.store.mongo_uri) as store:
        return list(store[DATABASE][COLLECTION].find())


def committed(world: World, unit: str) -> Iterator[int]:
    for account in accounts(world):
        yield from (counter[unit] for counter in account["committed"]["tenant"].values())


@pytest.mark.chaos
@pytest.mark.parametrize("unit", LIMITS)
def test_no_more_is_billed_than_a_budget_allows_however_many_workers_die(
    unit: str, start_world: StartWorld, verdict: Verdict
) -> None:
    budgets = {"default": {"day": {unit: LIMITS[unit]}}}
    world = start_world(workers=4, simulator=True, settings={**SETTINGS, "TENANT_BUDGETS": json.dumps(budgets)})
    client, provider = world.client(), Provider(world)
    task_ids = [submit(client, number) for number in range(TASKS)]

    until(provider.calls, "the first call is over")
    Nemesis(world, {"kill": kill_worker}).run(seconds=8)
    until(lambda: all(client.read(one)["status"] in RESTS for one in task_ids), "all rest", patience=ABANDONED + 60)
    until(lambda: not any(one["held"] for one in accounts(world)), "nothing is reserved", patience=ABANDONED + 30)

    calls = provider.calls()
    billed = {"model_calls": len(calls), "tokens": sum(call.tokens for call in calls)}[unit]
    most = max(call.tokens for call in calls) if unit == "tokens" else 0
    documents = world.documents(*task_ids).values()
    assert 0 < billed <= LIMITS[unit] + most
    assert all(billed <= counted for counted in committed(world, unit))
    assert not any(account["open"] for account in accounts(world))
    errors = {document["error"]["type"] for document in documents if document["status"] == "failed"}
    assert errors == {"BUDGET_EXCEEDED"}
    assert {one["hold"]["kind"] for one in documents if one["status"] == "awaiting_approval"} == {"budget"}
    verdict.figure(f"{unit} billed", billed, f"of {LIMITS[unit]}")
