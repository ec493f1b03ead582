"""Keys, roles and tenants: walked over every route there is."""

from collections.abc import AsyncIterator

import httpx
import pytest

from app.identity.authentication import PUBLIC_PATHS
from tests.api.conftest import StartApi
from tests.api.harness import Api, problem_of
from tests.api.routes import A_SESSION, A_WORKFLOW, Call, calls_of, values_of

KEYS = (
    "key-of-red:red:member,key-of-blue:blue:member,key-to-watch:red:viewer,key-of-boss:red:admin,"
    "key-of-rival:blue:admin"
)
RED, BLUE, WATCHER, BOSS, RIVAL = (
    {"X-API-Key": key} for key in ("key-of-red", "key-of-blue", "key-to-watch", "key-of-boss", "key-of-rival")
)
# What is not found where it is not a task.
CODES = {
    "task_id": "TASK_NOT_FOUND",
    "sha256": "ARTIFACT_NOT_FOUND",
    "session_id": "SESSION_NOT_FOUND",
    "owner": "BUDGET_NOT_FOUND",
    "workflow": "WORKFLOW_NOT_FOUND",
    "execution_id": "EXECUTION_NOT_FOUND",
    "approval_id": "APPROVAL_NOT_FOUND",
    "digest": "POLICY_NOT_FOUND",
}
# Agents are nobody's: every tenant sees those of the deployment. A link's token says itself whose it is.
OF_NO_TENANT = frozenset({"agent_name", "token"})
# Who sends an artifact makes one of its own, whoever else has the same.
MAKING = ("PUT", "/v1/artifacts/{sha256}")
STEERING = ("cancel", "pause", "resume", "retry", "fork", "signal")
# Whoever takes one of these away breaks a client.
CONTRACT = frozenset(
    {
        ("POST", "/v1/agent/execute"),
        ("GET", "/v1/tasks"),
        ("GET", "/v1/tasks/{task_id}"),
        ("GET", "/v1/tasks/{task_id}/events"),
        ("POST", "/v1/tasks/{task_id}/events/token"),
        ("POST", "/v1/tasks/{task_id}/cancel"),
        ("POST", "/v1/tasks/{task_id}/retry"),
        ("GET", "/v1/tasks/{task_id}/why"),
        ("GET", "/v1/tasks/{task_id}/artifacts"),
        ("GET", "/v1/tasks/{task_id}/artifacts/{sha256}"),
        ("GET", "/v1/tasks/{task_id}/artifacts/{sha256}/link"),
        ("GET", "/v1/artifacts"),
        ("PUT", "/v1/artifacts/{sha256}"),
        ("GET", "/v1/artifacts/{sha256}"),
        ("GET", "/v1/artifacts/{sha256}/info"),
        ("GET", "/v1/artifacts/{sha256}/link"),
        ("DELETE", "/v1/artifacts/{sha256}"),
        ("POST", "/v1/evaluations"),
        ("GET", "/v1/tasks/{task_id}/effects"),
        ("POST", "/v1/tasks/{task_id}/effects/{key}/resolve"),
        ("GET", "/v1/agents"),
        ("GET", "/v1/agents/{agent_name}"),
        ("GET", "/v1/sessions"),
        ("GET", "/v1/sessions/{session_id}"),
        ("DELETE", "/v1/sessions/{session_id}"),
        ("GET", "/v1/sessions/{session_id}/messages"),
        ("GET", "/v1/sessions/{session_id}/tasks"),
        ("GET", "/v1/dead-letters"),
        ("POST", "/v1/dead-letters/redrive"),
        ("GET", "/v1/dead-letters/{task_id}"),
        ("POST", "/v1/dead-letters/{task_id}/redrive"),
        ("GET", "/v1/audit"),
        ("GET", "/v1/audit/head"),
        ("GET", "/v1/audit/export"),
        ("POST", "/v1/logs"),
        ("GET", "/v1/logs"),
        ("GET", "/v1/budgets"),
        ("GET", "/v1/budgets/{scope}/{owner}"),
        ("PUT", "/v1/budgets/{scope}/{owner}"),
        ("DELETE", "/v1/budgets/{scope}/{owner}"),
        ("POST", "/v1/tasks/{task_id}/budget"),
        ("GET", "/v1/usage"),
        ("GET", "/v1/system/metrics"),
        ("GET", "/metrics"),
        ("GET", "/health"),
        ("GET", "/v1/approvals"),
        ("GET", "/v1/approvals/{approval_id}"),
        ("POST", "/v1/approvals/{approval_id}/decisions"),
        ("POST", "/v1/approvals/{approval_id}/delegate"),
        ("POST", "/v1/approvals/{approval_id}/links"),
        ("GET", "/v1/approvals/links/{token}"),
        ("POST", "/v1/approvals/links/{token}"),
    }
)


@pytest.fixture
async def locked(start_api: StartApi) -> AsyncIterator[Api]:
    async with start_api(api_keys=KEYS) as api:
        yield api


async def send(api: Api, call: Call, path: str, headers: dict[str, str] | None = None) -> httpx.Response:
    return await api.client.request(call.method, path, json=call.body, headers={**call.headers, **(headers or {})})


async def executed(api: Api) -> str:
    """The id of an execution that red has begun."""
    await api.post("/v1/workflows", A_WORKFLOW, headers=RED)
    answer = await api.post(f"/v1/workflows/{A_WORKFLOW['name']}/execute", {}, headers=RED)
    assert answer.status_code == 202, answer.text
    return str(answer.json()["execution_id"])


def test_the_walk_finds_the_routes() -> None:
    # A walk over nothing would prove everything.
    assert {"/health", "/health/live", "/health/ready", "/openapi.json"} <= PUBLIC_PATHS


async def test_the_walk_covers_every_route_of_the_contract(locked: Api) -> None:
    found = {(call.method, call.template) for call in calls_of(locked.app)}

    assert found >= CONTRACT


async def test_the_walk_covers_the_routes_of_policies(locked: Api) -> None:
    found = {(call.method, call.template) for call in calls_of(locked.app)}

    assert {
        ("GET", "/v1/policies/current"),
        ("PUT", "/v1/policies/current"),
        ("DELETE", "/v1/policies/current"),
        ("GET", "/v1/policies/versions/{digest}"),
        ("POST", "/v1/policies/decide"),
        ("POST", "/v1/policies/dry-run"),
    } <= found


async def test_the_walk_covers_the_routes_of_workflows(locked: Api) -> None:
    found = {(call.method, call.template) for call in calls_of(locked.app)}

    assert {
        ("POST", "/v1/workflows"),
        ("POST", "/v1/workflows/validate"),
        ("GET", "/v1/workflows"),
        ("GET", "/v1/workflows/{workflow}"),
        ("GET", "/v1/workflows/{workflow}/versions"),
        ("DELETE", "/v1/workflows/{workflow}"),
        ("POST", "/v1/workflows/{workflow}/execute"),
        ("GET", "/v1/executions"),
        ("GET", "/v1/executions/{execution_id}"),
        ("GET", "/v1/executions/{execution_id}/status"),
        ("GET", "/v1/executions/{execution_id}/steps"),
        ("GET", "/v1/executions/{execution_id}/steps/{path}"),
        ("GET", "/v1/executions/{execution_id}/steps/{path}/recordings"),
        ("GET", "/v1/executions/{execution_id}/steps/{path}/recordings/{sha256}"),
        ("POST", "/v1/executions/{execution_id}/steps/{path}/approve"),
        ("POST", "/v1/executions/{execution_id}/steps/{path}/reject"),
        ("GET", "/v1/executions/{execution_id}/logs"),
        ("GET", "/v1/executions/{execution_id}/events"),
        ("POST", "/v1/executions/{execution_id}/events/token"),
        ("GET", "/v1/executions/{execution_id}/why"),
        ("GET", "/v1/executions/{execution_id}/receipt"),
        ("GET", "/v1/executions/{execution_id}/artifacts"),
        ("GET", "/v1/executions/{execution_id}/artifacts/{sha256}"),
        ("GET", "/v1/executions/{execution_id}/artifacts/{sha256}/link"),
        *(("POST", f"/v1/executions/{{execution_id}}/{verb}") for verb in STEERING),
    } <= found


async def test_every_route_that_is_not_public_needs_a_key(locked: Api) -> None:
    task_id = await locked.submit(headers=RED)

    for call in calls_of(locked.app):
        if call.template in PUBLIC_PATHS:
            continue
        for headers in (None, {"X-API-Key": "a-wrong-key"}, {"Authorization": "Bearer a-wrong-key"}):
            response = await send(locked, call, call.path(values_of(task_id)), headers)
            problem_of(response, 401, "UNAUTHENTICATED")
            assert response.headers["www-authenticate"].startswith("Bearer"), call
    assert (await locked.read(task_id, headers=RED))["status"] == "queued"


async def test_every_route_that_takes_an_id_hides_another_tenants_object(locked: Api) -> None:
    task_id = await locked.submit(headers=RED, session_id=A_SESSION)
    values = values_of(task_id, await executed(locked))
    walked = [call for call in calls_of(locked.app) if call.parameters and not OF_NO_TENANT & set(call.parameters)]

    for call in walked:
        if (call.method, call.template) == MAKING:
            continue
        response = await send(locked, call, call.path(values), RIVAL)
        code = next((CODES[name] for name in call.parameters if name in CODES), "TASK_NOT_FOUND")
        body = problem_of(response, 404, code)
        assert "red" not in body["detail"], call

    assert len(walked) >= 6
    assert (await locked.read(task_id, headers=RED))["status"] == "queued"


async def test_a_tenant_lists_and_counts_only_its_own(locked: Api) -> None:
    mine = await locked.submit(headers=BLUE)
    for _ in range(3):
        await locked.hand().complete(await locked.submit(headers=RED))

    page = (await locked.get("/v1/tasks", headers=BLUE)).json()
    metrics = (await locked.get("/v1/system/metrics", headers=BLUE)).json()

    assert [item["task_id"] for item in page["items"]] == [mine]
    assert page["meta"]["total_items"] == 1
    assert metrics["pending_tasks"] == 1
    assert metrics["tasks_per_status"]["queued"] == 1


async def test_a_cursor_of_one_tenant_shows_another_only_its_own(locked: Api) -> None:
    for _ in range(3):
        await locked.submit(headers=RED)
    cursor = (await locked.get("/v1/tasks", headers=RED, params={"page_size": 1})).json()["next_cursor"]

    page = (await locked.get("/v1/tasks", headers=BLUE, params={"cursor": cursor})).json()

    assert page["items"] == []


async def test_a_session_of_one_name_is_another_session_for_another_tenant(locked: Api) -> None:
    await locked.submit(session_id="shared", headers=RED)

    page = (await locked.get("/v1/tasks", params={"session_id": "shared"}, headers=BLUE)).json()

    assert page["items"] == []


async def test_a_viewer_may_read_everything_and_change_nothing(locked: Api) -> None:
    task_id, dead_id = await locked.submit(headers=RED, session_id=A_SESSION), await locked.submit(headers=RED)
    await locked.hand().fail(dead_id)
    await locked.client.put("/v1/budgets/tenant/red", json={"day": {"tokens": 10}}, headers=BOSS)
    await locked.client.put("/v1/policies/current", json={"version": 1}, headers=BOSS)
    execution_id = await executed(locked)

    for call in calls_of(locked.app):
        response = None
        if "token" in call.parameters:
            continue
        if call.template.startswith("/v1/audit"):
            problem_of(await send(locked, call, call.path({}), WATCHER), 403, "FORBIDDEN")
        elif call.method == "GET" and not call.template.endswith("/events"):
            shown = dead_id if call.template.startswith("/v1/dead-letters/") else task_id
            response = await send(locked, call, call.path(values_of(shown, execution_id)), WATCHER)
            # What is in the queue has made nothing yet, and its viewer is told so.
            status = 404 if {"sha256", "path", "approval_id", "digest"} & set(call.parameters) else 200
            assert response.status_code == (409 if call.template.endswith("/receipt") else status), (
                call,
                response.text,
            )
        elif call.method != "GET" and not call.template.endswith("/events/token"):
            problem_of(await send(locked, call, call.path(values_of(task_id)), WATCHER), 403, "FORBIDDEN")
    assert (await locked.read(task_id, headers=RED))["status"] == "queued"


@pytest.mark.parametrize(
    "headers", [RED, BOSS, {"Authorization": "Bearer key-of-red"}, {"authorization": "bearer  key-of-red"}]
)
async def test_a_key_is_taken_in_either_header(locked: Api, headers: dict[str, str]) -> None:
    assert (await locked.execute(headers=headers)).status_code == 202


@pytest.mark.parametrize(
    "headers",
    [
        {"X-API-Key": ""},
        {"X-API-Key": "KEY-OF-RED"},
        {"X-API-Key": "key-of-red:red:admin"},
        {"Authorization": "Basic key-of-red"},
        {"Authorization": "key-of-red"},
        {"Authorization": "Bearer"},
        {"Cookie": "X-API-Key=key-of-red"},
    ],
    ids=str,
)
async def test_nothing_else_opens_the_door(locked: Api, headers: dict[str, str]) -> None:
    problem_of(await locked.execute(headers=headers), 401, "UNAUTHENTICATED")


async def test_a_key_in_the_address_is_not_taken(locked: Api) -> None:
    for name in ("api_key", "X-API-Key", "token", "key"):
        response = await locked.get("/v1/tasks", params={name: "key-of-red"})
        problem_of(response, 401, "UNAUTHENTICATED")


async def test_a_stranger_cannot_make_us_read_a_body(locked: Api) -> None:
    response = await locked.client.post("/v1/agent/execute", content=b"{" * 1_000_000)

    problem_of(response, 401, "UNAUTHENTICATED")


async def test_a_stranger_learns_nothing_about_which_paths_exist(locked: Api) -> None:
    for path in ("/v1/nothing", "/v1/tasks/x", "/v2/tasks", "/admin"):
        problem_of(await locked.get(path), 401, "UNAUTHENTICATED")


async def test_what_is_public_is_open_to_strangers(locked: Api) -> None:
    for path in sorted(PUBLIC_PATHS):
        assert (await locked.get(path)).status_code == 200, path


async def test_without_keys_everybody_is_the_default_tenant(api: Api) -> None:
    task_id = await api.submit(headers={"X-API-Key": "whatever"})

    found = await api.core.store.get(task_id)

    assert found.tenant_id == "default"


async def test_the_key_is_not_stored_with_the_task(locked: Api) -> None:
    found = await locked.core.store.get(await locked.submit(headers=RED))

    assert found.tenant_id == "red"
    assert "key-of-red" not in repr(found.document)
