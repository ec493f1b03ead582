"""Budgets in the real kernel and against the simulator, which counts what it is asked."""

import asyncio
from dataclasses import replace
from datetime import timedelta
from typing import Any

import httpx
import pytest

from app.bootstrap.budgets import build_book, build_ledger
from app.bootstrap.execution import build_execution
from app.governance.budgets import ledger
from app.governance.budgets.accounts import Work, month_account_id
from app.governance.budgets.ledger import BudgetLedger, Reservation
from app.governance.budgets.models import Unit
from tests.api.harness import Json, problem_of
from tests.api.world import World

ARTICLE = "Compare quantum computing with remote work."
TENANT = "/v1/budgets/tenant/default"


async def raise_budget(world: World, task_id: str, **options: Any) -> httpx.Response:
    return await world.api.post(f"/v1/tasks/{task_id}/budget", **options)


async def models_asked(world: World) -> dict[str, int]:
    """How often the models were asked, by role."""
    return {role: count for role, count in (await world.asked()).items() if role != "search"}


async def test_a_paused_task_goes_on_where_it_was_and_no_call_is_repeated(world: World) -> None:
    whole = await world.run(ARTICLE)
    unlimited = await models_asked(world)
    await world.simulator.delete("/_sim/requests")

    paused = await world.run(ARTICLE, budget={"model_calls": 2, "on_exceeded": "ask"})
    job = await world.api.core.store.get(paused["task_id"])
    asked_before = await models_asked(world)
    raised = await raise_budget(world, paused["task_id"], body={"model_calls": 20})
    done = await world.go_on(paused["task_id"])

    assert (paused["status"], paused["attempt"], job.lease) == ("awaiting_approval", 0, None)
    assert (paused["hold"]["kind"], paused["hold"]["facts"]["limit"]) == ("budget", 2)
    assert world.runner.is_idle
    assert sum(asked_before.values()) == 2
    assert (raised.status_code, raised.json()["status"], raised.json()["hold"]) == (202, "queued", None)
    assert (done["status"], done["attempt"], done["hold"]) == ("completed", 1, None)
    assert await models_asked(world) == unlimited
    assert done["cost"]["model_calls"] == whole["cost"]["model_calls"] == sum(unlimited.values())
    assert done["cost"]["total_tokens"] == whole["cost"]["total_tokens"]
    assert [entry["reason"] for entry in done["history"]] == [
        "accepted", "claimed", "suspended", "resumed", "claimed", "finished",
    ]  # fmt: skip


async def test_why_says_which_budget_is_used_up_and_what_helps(world: World) -> None:
    task = await world.run(ARTICLE, budget={"model_calls": 1, "on_exceeded": "ask"})

    why = (await world.api.get(f"/v1/tasks/{task['task_id']}/why")).json()

    assert why["waiting_for"] == "budget"
    assert why["explanation"].startswith(
        "budget exhausted: the budget of the request (1 model_calls) is used up: 1 model_calls spent; "
        f"raise it with POST /v1/tasks/{task['task_id']}/budget. Paused since 2"
    )
    assert why["facts"].items() >= {"scope": "request", "unit": "model_calls", "limit": 1, "spent": 1}.items()


async def test_without_asking_it_fails_before_the_call_beyond_the_budget(world: World) -> None:
    task = await world.run(ARTICLE, budget={"model_calls": 2})

    assert (task["status"], task["error"]["type"]) == ("failed", "BUDGET_EXCEEDED")
    assert task["error"]["message"].endswith("2 model_calls spent; submit it with more")
    assert sum((await models_asked(world)).values()) == 2


@pytest.mark.parametrize(
    ("body", "field"),
    [({"model_calls": 1}, "model_calls"), ({}, "model_calls"), ({"model_calls": 9, "usd": 1}, "usd")],
    ids=["what is spent already", "nothing", "a unit without a limit"],
)
async def test_a_raise_that_does_not_help_is_refused(world: World, body: Json, field: str) -> None:
    task = await world.run(ARTICLE, budget={"model_calls": 1, "on_exceeded": "ask"})

    refused = problem_of(await raise_budget(world, task["task_id"], body=body), 422, "VALIDATION_ERROR")

    assert [detail["field"] for detail in refused["error"]["details"]] == [field]
    assert (await world.api.read(task["task_id"]))["status"] == "awaiting_approval"


async def test_only_a_task_that_waits_can_be_raised_and_one_key_raises_once(world: World) -> None:
    task = await world.run(ARTICLE, budget={"model_calls": 1, "on_exceeded": "ask"})
    key = {"Idempotency-Key": "raise-1"}

    answers = await asyncio.gather(
        *(raise_budget(world, task["task_id"], body={"model_calls": 2}, headers=key) for _ in range(4))
    )
    late = await raise_budget(world, task["task_id"], body={"model_calls": 3})
    again = await world.go_on(task["task_id"])

    assert {answer.status_code for answer in answers} == {202}
    problem_of(late, 409, "TASK_NOT_WAITING")
    assert [entry["reason"] for entry in again["history"]].count("resumed") == 1
    assert again["hold"]["facts"]["limit"] == 2


async def test_a_paused_task_can_be_cancelled_and_is_then_not_to_be_raised(world: World) -> None:
    task = await world.run(ARTICLE, budget={"model_calls": 1, "on_exceeded": "ask"})
    cancelled = await world.api.post(f"/v1/tasks/{task['task_id']}/cancel")

    refused = await raise_budget(world, task["task_id"], body={"model_calls": 9})

    assert (cancelled.json()["status"], cancelled.json()["hold"]) == ("cancelled", None)
    problem_of(refused, 409, "TASK_NOT_WAITING")


async def test_a_tenants_budget_pauses_a_task_that_asks_and_a_raised_one_lets_it_go_on(world: World) -> None:
    await world.api.client.put(TENANT, json={"month": {"model_calls": 1}})
    task = await world.run(ARTICLE, budget={"usd": 1, "on_exceeded": "ask"})
    task_id = task["task_id"]

    await raise_budget(world, task_id, body={})
    still = await world.go_on(task_id)
    await world.api.client.put(TENANT, json={"month": {"model_calls": 50}})
    raised = await raise_budget(world, task_id, body={})
    done = await world.go_on(task_id)

    assert (task["status"], still["status"], raised.status_code) == ("awaiting_approval", "awaiting_approval", 202)
    assert task["hold"]["facts"]["scope"] == "tenant"
    assert "PUT /v1/budgets/tenant/default" in task["hold"]["message"]
    assert done["status"] == "completed"
    assert (await models_asked(world))["router"] == 1


async def test_workers_together_make_no_more_calls_than_their_tenant_may(world: World) -> None:
    await world.api.client.put(TENANT, json={"day": {"model_calls": 5}})
    tasks = [await world.api.submit(f"{ARTICLE} {number}") for number in range(6)]
    other = replace(world, worker=await build_execution(world.api.settings))

    try:
        ended = await asyncio.gather(*(each.go_on(task) for task, each in zip(tasks, [world, other] * 3, strict=True)))
    finally:
        await other.worker.close()

    assert sum((await models_asked(world)).values()) == 5
    assert {task["error"]["type"] for task in ended if task["error"]} == {"BUDGET_EXCEEDED"}
    limits = (await world.api.get(TENANT)).json()["limits"]
    assert [(limit["spent"], limit["reserved"], limit["remaining"]) for limit in limits] == [(5, 0, 0)]


async def test_a_task_that_takes_too_long_is_stopped_by_its_budget_in_the_middle_of_a_call(world: World) -> None:
    task = await world.run("Write about coffee [[sim hang]]", budget={"wall_seconds": 0.3})

    assert (task["status"], task["error"]["type"]) == ("failed", "BUDGET_EXCEEDED")
    assert "0.3 wall_seconds" in task["error"]["message"]


async def test_the_upkeep_frees_what_a_killed_worker_had_reserved(world: World) -> None:
    core = world.api.core
    await world.api.client.put(TENANT, json={"day": {"tokens": 100}})
    long_ago = core.clock() - timedelta(hours=1)
    killed = BudgetLedger(core.documents(ledger.COLLECTION), clock=lambda: long_ago, patience=timedelta(minutes=1))
    rules = await build_book(core).rules_of("default")
    (account,) = rules.accounts(Work("default", "s", "CodeAgent"), core.clock())
    assert isinstance(await killed.reserve(account, {Unit.TOKENS: 60}, task_id="t"), Reservation)

    await world.worker.upkeep.run_once()

    found = await build_ledger(core).find("default", month_account_id("default", core.clock()))
    counter = next(one for name, one in found.items() if name != "tenant.month")
    assert (counter.committed, counter.reserved) == ({Unit.TOKENS: 60}, {})


async def test_usage_adds_up_what_tasks_cost_by_agent_and_day_as_soon_as_they_are_counted(world: World) -> None:
    tasks = [
        await world.run(ARTICLE),
        await world.run("Write a Python function that reverses a string"),
        await world.run(ARTICLE, budget={"model_calls": 1}),
    ]
    await world.worker.upkeep.run_once()
    await world.worker.upkeep.run_once()
    today = world.api.core.clock().date().isoformat()

    by_agent, by_day = [
        (await world.api.get("/v1/usage", params={"group_by": group, "from": today})).json()
        for group in ("agent", "day")
    ]

    cost = {name: sum(task["cost"][name] for task in tasks) for name in ("total_tokens", "model_calls", "usd_estimate")}
    assert by_agent["total"]["tokens"] == cost["total_tokens"] > 0
    assert by_agent["total"]["model_calls"] == cost["model_calls"]
    assert by_agent["total"]["usd"] == pytest.approx(cost["usd_estimate"], abs=1e-9)
    agents = {item["key"]: item["tokens"] for item in by_agent["items"]}
    assert agents["CodeAgent"] == tasks[1]["cost"]["total_tokens"]
    assert agents["ContentAgent"] == tasks[0]["cost"]["total_tokens"] + tasks[2]["cost"]["total_tokens"]
    assert [(item["key"], item["tokens"]) for item in by_day["items"]] == [(today, cost["total_tokens"])]
    assert (by_day["from"], by_day["to"], by_day["group_by"]) == (today, today, "day")
