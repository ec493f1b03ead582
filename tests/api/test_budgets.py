"""Budgets over HTTP: who may see and set them, what is refused, and what they say was consumed."""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from app.bootstrap.budgets import build_book, build_ledger
from app.governance.budgets.accounts import Work
from app.governance.budgets.ledger import Reservation
from app.governance.budgets.models import Unit
from app.governance.budgets.routes import BudgetListResponse, BudgetResponse
from tests.api.conftest import StartApi
from tests.api.harness import Api, Json, conforms, fields_of, problem_of

KEYS = "key-of-red:red:member,key-to-watch:red:viewer,key-of-boss:red:admin,key-of-blue:blue:admin"
RED, WATCHER, BOSS, BLUE = ({"X-API-Key": key} for key in ("key-of-red", "key-to-watch", "key-of-boss", "key-of-blue"))
TENANT = "/v1/budgets/tenant/red"
LIMITS: Json = {"day": {"usd": 0.5, "tokens": 1000}, "month": {"model_calls": 50}}
CONFIGURED = {
    "tenant_budgets": '{"red": {"day": {"tokens": 100}}, "*": {"month": {"usd": 5}}}',
    "agent_budgets": '{"CodeAgent": {"day": {"wall_seconds": 60}}}',
    "session_budget": '{"tokens": 300}',
}


@pytest.fixture
async def locked(start_api: StartApi) -> AsyncIterator[Api]:
    async with start_api(api_keys=KEYS) as api:
        yield api


async def put(api: Api, path: str = TENANT, limits: Any = None, *, headers: Any = BOSS) -> Any:
    return await api.client.put(path, json=LIMITS if limits is None else limits, headers=headers)


async def reserve(api: Api, tokens: int, *, session: str = "s") -> list[Reservation]:
    """What a worker does before a model call of the tenant's CodeAgent."""
    rules = await build_book(api.core).rules_of("red")
    answers = [
        await build_ledger(api.core).reserve(account, {Unit.TOKENS: tokens}, task_id="t")
        for account in rules.accounts(Work("red", session, "CodeAgent"), api.core.clock())
    ]
    reserved = [answer for answer in answers if isinstance(answer, Reservation)]
    assert reserved == answers
    return reserved


async def consume(api: Api, tokens: int, **of: str) -> None:
    for reservation in await reserve(api, tokens, **of):
        await build_ledger(api.core).settle(reservation, reservation.amounts)


def limit_of(budget: Json, period: str, unit: str) -> Json:
    (found,) = [limit for limit in budget["limits"] if (limit["period"], limit["unit"]) == (period, unit)]
    return dict(found)


async def test_an_admin_sets_a_budget_and_everybody_of_the_tenant_reads_it_with_what_was_consumed(locked: Api) -> None:
    answer = await put(locked)
    await consume(locked, 300)
    await reserve(locked, 100)
    read = await locked.get(TENANT, headers=WATCHER)

    assert (answer.status_code, read.status_code) == (200, 200)
    conforms(BudgetResponse, read.json())
    budget = read.json()
    assert budget["stored"]["limits"] == LIMITS
    tokens = limit_of(budget, "day", "tokens")
    assert (tokens["limit"], tokens["spent"], tokens["reserved"], tokens["remaining"]) == (1000, 300, 100, 600)
    assert tokens["to_raise"].startswith("raise it with PUT /v1/budgets/tenant/red, or wait until ")
    assert tokens["resets_at"].endswith("T00:00:00.000Z")
    calls = limit_of(budget, "month", "model_calls")
    assert (calls["limit"], calls["spent"], calls["remaining"]) == (50, 0, 50)


@pytest.mark.parametrize("headers", [RED, WATCHER], ids=["member", "viewer"])
async def test_only_an_admin_sets_and_deletes(locked: Api, headers: dict[str, str]) -> None:
    await put(locked)

    problem_of(await put(locked, limits={"day": {"tokens": 1}}, headers=headers), 403, "FORBIDDEN")
    problem_of(await locked.client.delete(TENANT, headers=headers), 403, "FORBIDDEN")

    assert (await locked.get(TENANT, headers=RED)).json()["stored"]["limits"] == LIMITS


async def test_another_tenant_sees_and_changes_none_of_it(locked: Api) -> None:
    await put(locked)
    await put(locked, "/v1/budgets/agent/CodeAgent")

    assert (await locked.get("/v1/budgets", headers=BLUE)).json()["items"] == []
    problem_of(await locked.get(TENANT, headers=BLUE), 404, "BUDGET_NOT_FOUND")
    problem_of(await put(locked, headers=BLUE), 404, "BUDGET_NOT_FOUND")
    problem_of(await locked.client.delete("/v1/budgets/agent/CodeAgent", headers=BLUE), 404, "BUDGET_NOT_FOUND")


async def test_a_deleted_budget_holds_no_more(locked: Api) -> None:
    await put(locked)

    deleted = await locked.client.delete(TENANT, headers=BOSS)

    assert (deleted.status_code, deleted.content) == (204, b"")
    problem_of(await locked.get(TENANT, headers=BOSS), 404, "BUDGET_NOT_FOUND")
    problem_of(await locked.client.delete(TENANT, headers=BOSS), 404, "BUDGET_NOT_FOUND")


async def test_a_new_budget_replaces_the_one_that_is_stored(locked: Api) -> None:
    await put(locked)
    await put(locked, limits={"month": {"usd": 3}})

    budget = (await locked.get(TENANT, headers=BOSS)).json()

    assert [(limit["period"], limit["unit"], limit["limit"]) for limit in budget["limits"]] == [("month", "usd", 3)]


async def test_of_what_is_configured_and_stored_the_lower_holds_and_the_list_has_all(start_api: StartApi) -> None:
    async with start_api(api_keys=KEYS, **CONFIGURED) as api:
        await put(api, limits={"day": {"tokens": 5000, "usd": 1}})
        await put(api, "/v1/budgets/agent/*", {"month": {"model_calls": 9}})
        await consume(api, 40, session="talk")
        listed = await api.get("/v1/budgets", headers=WATCHER)
        session = (await api.get("/v1/budgets/session/talk", headers=WATCHER)).json()
        others = (await api.get("/v1/budgets", headers=BLUE)).json()

    conforms(BudgetListResponse, listed.json())
    budgets = {(item["scope"], item["name"]): item for item in listed.json()["items"]}
    assert list(budgets) == [("tenant", "red"), ("agent", "*"), ("agent", "CodeAgent"), ("session", "*")]
    tokens = limit_of(budgets["tenant", "red"], "day", "tokens")
    assert (tokens["limit"], tokens["spent"]) == (100, 40)
    assert tokens["to_raise"].startswith("raise TENANT_BUDGETS")
    assert limit_of(budgets["tenant", "red"], "day", "usd")["limit"] == 1
    assert limit_of(budgets["agent", "*"], "month", "model_calls")["spent"] is None
    assert limit_of(session, "total", "tokens")["remaining"] == 260
    assert ("tenant", "blue") in [(item["scope"], item["name"]) for item in others["items"]]


@pytest.mark.parametrize(
    ("path", "limits", "field"),
    [
        (TENANT, {}, "day"),
        (TENANT, {"total": {"tokens": 1}}, "day"),
        (TENANT, {"day": {}}, "day"),
        (TENANT, {"day": {"usd": -1}}, "day.usd"),
        (TENANT, {"day": {"usd": "1"}}, "day.usd"),
        (TENANT, {"day": {"tokens": 1.5}}, "day.tokens"),
        (TENANT, {"day": {"euro": 1}}, "day.euro"),
        (TENANT, {"week": {"usd": 1}}, "week"),
        ("/v1/budgets/session/*", {"day": {"tokens": 1}}, "total"),
        ("/v1/budgets/session/talk", {"total": {"tokens": 1}}, "owner"),
        ("/v1/budgets/planet/earth", {"day": {"tokens": 1}}, "scope"),
    ],
)
async def test_a_budget_that_makes_no_sense_is_refused_with_its_field(
    locked: Api, path: str, limits: Json, field: str
) -> None:
    body = problem_of(await put(locked, path, limits), 422, "VALIDATION_ERROR")

    assert fields_of(body) == [field]


async def test_an_agent_that_does_not_exist_has_no_budget(locked: Api) -> None:
    body = problem_of(await put(locked, "/v1/budgets/agent/CodAgent"), 404, "BUDGET_NOT_FOUND")

    assert "CodeAgent" in body["detail"]


async def test_infinity_is_no_limit(locked: Api) -> None:
    response = await locked.client.put(
        TENANT, content=b'{"day": {"usd": Infinity}}', headers={**BOSS, "content-type": "application/json"}
    )

    problem_of(response, 422, "VALIDATION_ERROR")


async def test_a_tenant_without_tasks_has_used_nothing_this_month(locked: Api) -> None:
    usage = (await locked.get("/v1/usage", headers=WATCHER)).json()

    assert usage["items"] == [{"key": "red", "tokens": 0, "model_calls": 0, "usd": 0}]
    assert usage["from"].endswith("-01")


@pytest.mark.parametrize(
    ("params", "field"),
    [
        ({"from": "2026-11-02", "to": "2026-11-01"}, "from"),
        ({"from": "2020-01-01", "to": "2026-11-01"}, "from"),
        ({"from": "yesterday"}, "from"),
        ({"group_by": "planet"}, "group_by"),
    ],
)
async def test_usage_of_days_that_make_no_sense_is_refused(locked: Api, params: dict[str, str], field: str) -> None:
    response = await locked.get("/v1/usage", params=params, headers=RED)

    assert fields_of(problem_of(response, 422, "VALIDATION_ERROR")) == [field]
