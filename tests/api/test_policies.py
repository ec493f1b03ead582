"""Policies over HTTP: who may see and set them, what is refused, what they decide, and what they would have."""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from app.governance.policy.schemas import (
    DecideResponse,
    DryRunResponse,
    PolicyResponse,
    PolicyTextResponse,
    PolicyValidationResponse,
    PolicyVersionsResponse,
)
from tests.api.conftest import StartApi
from tests.api.harness import Api, Json, conforms, problem_of

KEYS = "key-of-red:red:member,key-to-watch:red:viewer,key-of-boss:red:admin,key-of-blue:blue:admin"
RED, WATCHER, BOSS, BLUE = ({"X-API-Key": key} for key in ("key-of-red", "key-to-watch", "key-of-boss", "key-of-blue"))
CURRENT = "/v1/policies/current"
POLICY = """
version: 1
rules:
  - name: no-shell # for anybody
    applies_to: [tool]
    when: tool.name == "shell"
    decide: deny
    reason: shells are not for agents
  - {name: writes, applies_to: [tool], when: tool.side_effect == "external", decide: require_approval}
"""
SHELL: Json = {"kind": "tool", "facts": {"tool": {"name": "shell", "side_effect": "none"}}}


@pytest.fixture
async def locked(start_api: StartApi) -> AsyncIterator[Api]:
    async with start_api(api_keys=KEYS) as api:
        yield api


async def put(api: Api, text: str = POLICY, *, headers: Any = BOSS, expected: str | None = None) -> Any:
    condition = {"If-Match": f'"{expected}"'} if expected else {}
    given = {**headers, "Content-Type": "application/yaml", **condition}
    return await api.client.put(CURRENT, content=text.encode(), headers=given)


async def decide(api: Api, body: Json, *, headers: Any = RED) -> Json:
    answer = await api.client.post("/v1/policies/decide", json=body, headers=headers)
    assert answer.status_code == 200, answer.text
    conforms(DecideResponse, answer.json())
    return dict(answer.json())


async def acts(api: Api, kind: str) -> list[Json]:
    answer = await api.client.get("/v1/audit", params={"kind": kind}, headers=BOSS)
    assert answer.status_code == 200, answer.text
    return list(answer.json()["items"])


async def test_an_admin_stores_a_policy_and_everybody_of_the_tenant_reads_it_as_it_was_sent(locked: Api) -> None:
    answer = await put(locked)
    read = await locked.client.get(CURRENT, headers=WATCHER)

    conforms(PolicyResponse, answer.json())
    assert (answer.status_code, answer.json()["source"], answer.json()["text"]) == (200, "stored", POLICY)
    assert read.json() == answer.json()
    assert read.headers["ETag"] == f'"{answer.json()["digest"]}"'


async def test_a_policy_is_its_tenants_own(locked: Api) -> None:
    digest = (await put(locked)).json()["digest"]

    missing = await locked.client.get(CURRENT, headers=BLUE)
    version = await locked.client.get(f"/v1/policies/versions/{digest}", headers=BLUE)

    assert "everything is allowed" in problem_of(missing, 404, "POLICY_NOT_FOUND")["detail"]
    problem_of(version, 404, "POLICY_NOT_FOUND")
    assert (await decide(locked, SHELL, headers=BLUE))["effect"] == "allow"


@pytest.mark.parametrize("headers", [RED, WATCHER])
async def test_only_admins_change_a_policy(locked: Api, headers: dict[str, str]) -> None:
    problem_of(await put(locked, headers=headers), 403, "FORBIDDEN")
    problem_of(await locked.client.delete(CURRENT, headers=headers), 403, "FORBIDDEN")


async def test_a_policy_with_errors_is_refused_whole_with_places(locked: Api) -> None:
    await put(locked)

    refused = problem_of(await put(locked, POLICY.replace("tool.name", "tool.nam")), 422, "POLICY_INVALID")

    (problem,) = refused["error"]["details"]["problems"]
    assert (problem["line"], problem["path"], problem["fix"]) == (6, "rules[0].when", "did you mean `tool.name`?")
    assert (await locked.client.get(CURRENT, headers=RED)).json()["text"] == POLICY


async def test_who_does_not_know_the_current_version_replaces_nothing(locked: Api) -> None:
    first = (await put(locked)).json()["digest"]

    problem_of(await put(locked, "version: 1", expected="sha256:another"), 412, "POLICY_CHANGED")
    second = await put(locked, "version: 1", expected=first)

    assert second.status_code == 200
    problem_of(await put(locked, POLICY, expected=first), 412, "POLICY_CHANGED")
    gone = await locked.client.delete(CURRENT, headers={**BOSS, "If-Match": f'"{first}"'})
    problem_of(gone, 412, "POLICY_CHANGED")


async def test_a_removed_policy_holds_no_longer_and_its_versions_stay(locked: Api) -> None:
    digest = (await put(locked)).json()["digest"]

    removed = await locked.client.delete(CURRENT, headers=BOSS)
    again = await locked.client.delete(CURRENT, headers=BOSS)
    version = await locked.client.get(f"/v1/policies/versions/{digest}", headers=RED)

    assert removed.status_code == 204
    problem_of(again, 404, "POLICY_NOT_FOUND")
    conforms(PolicyTextResponse, version.json())
    assert version.json()["text"] == POLICY
    assert (await decide(locked, SHELL))["effect"] == "allow"


async def test_versions_are_listed_newest_first(locked: Api) -> None:
    first, second = [(await put(locked, text)).json()["digest"] for text in (POLICY, "version: 1")]

    page = await locked.client.get("/v1/policies/versions", params={"page_size": 1}, headers=RED)
    rest = await locked.client.get("/v1/policies/versions", params={"cursor": page.json()["next_cursor"]}, headers=RED)

    conforms(PolicyVersionsResponse, page.json())
    assert [(one["digest"], one["current"]) for one in page.json()["items"]] == [(second, True)]
    assert [(one["digest"], one["current"]) for one in rest.json()["items"]] == [(first, False)]
    assert page.json()["meta"]["total_items"] == 2


async def test_what_changes_a_policy_is_in_the_audit_trail(locked: Api) -> None:
    digest = (await put(locked)).json()["digest"]
    await locked.client.delete(CURRENT, headers=BOSS)

    (stored,), (deleted,) = await acts(locked, "policy.put"), await acts(locked, "policy.deleted")

    assert (stored["subject"], stored["detail"]) == ({"policy": digest}, {"digest": digest, "before": None})
    assert stored["actor"] == deleted["actor"] != ""


async def test_a_decision_says_which_rule_made_it_and_on_which_terms(locked: Api) -> None:
    digest = (await put(locked)).json()["digest"]

    denied = await decide(locked, SHELL)
    held = await decide(locked, {"kind": "tool", "facts": {"tool": {"name": "mail", "side_effect": "external"}}})
    unclear = await decide(locked, {"kind": "tool", "facts": {"tool": {"name": "mail"}}})

    assert (denied["effect"], denied["rule"], denied["reasons"]) == (
        "deny",
        "no-shell",
        ["shells are not for agents"],
    )
    assert denied["policy_digest"] == digest
    assert (held["effect"], held["rule"], held["approval"]["quorum"]) == ("require_approval", "writes", 1)
    assert (unclear["effect"], unclear["rule"]) == ("deny", "writes")


@pytest.mark.parametrize(
    ("facts", "reason"),
    [
        ({"tool": {"nam": "x"}}, "a tool has no fact 'tool.nam'"),
        ({"task": {"text": "x"}}, "a tool has no fact 'task.text'"),
        ({"tool": {"name": 5}}, "it is no text of at most 1024 bytes"),
        ({"tool": "x"}, "facts stand in groups"),
        ({"spend": {"usd": True}}, "it is no number"),
        ({"tool": {"arguments": {"n": "a\u0000b"}}}, "it is no object"),
    ],
)
async def test_facts_that_there_are_not_are_refused(locked: Api, facts: Json, reason: str) -> None:
    answer = await locked.client.post("/v1/policies/decide", json={"kind": "tool", "facts": facts}, headers=RED)

    assert reason in problem_of(answer, 422, "VALIDATION_ERROR")["detail"]


async def test_validation_stores_nothing_and_tells_every_problem(locked: Api) -> None:
    headers = {**RED, "Content-Type": "application/yaml"}
    good = await locked.client.post("/v1/policies/validate", content=POLICY, headers=headers)
    bad = await locked.client.post("/v1/policies/validate", content="version: 2\nrulez: []", headers=headers)

    for answer in (good, bad):
        conforms(PolicyValidationResponse, answer.json())
    assert (good.json()["valid"], good.json()["problems"]) == (True, [])
    assert (bad.json()["valid"], len(bad.json()["problems"])) == (False, 2)
    problem_of(await locked.client.get(CURRENT, headers=RED), 404, "POLICY_NOT_FOUND")


async def test_a_dry_run_says_what_would_have_been_decided_otherwise(locked: Api) -> None:
    texts = ["Write a short post about the sea.", "Delete the archive.", "Write a haiku."]
    for text in texts:
        task_id = (await locked.client.post("/v1/agent/execute", json={"task": text}, headers=RED)).json()["task_id"]
        await locked.core.tasks.update_one({"_id": task_id}, {"$set": {"selected_agent": "ContentAgent"}})
    await locked.client.post("/v1/agent/execute", json={"task": "Delete this too."}, headers=RED)
    policy = """
version: 1
rules:
  - {name: no-deletion, applies_to: [task], when: task.text.lowerAscii().contains("delete"), decide: deny}
"""

    answer = await locked.client.post("/v1/policies/dry-run", json={"policy": policy}, headers=RED)
    of_others = await locked.client.post("/v1/policies/dry-run", json={"policy": policy}, headers=BLUE)

    tried = answer.json()
    conforms(DryRunResponse, tried)
    assert (tried["examined"], tried["before"], tried["after"]) == (3, {"allow": 3}, {"allow": 2, "deny": 1})
    (change,) = tried["changes"]
    assert (change["before"]["effect"], change["after"]["effect"], change["after"]["rule"]) == (
        "allow",
        "deny",
        "no-deletion",
    )
    assert of_others.json()["examined"] == 0
    problem_of(await locked.client.get(CURRENT, headers=RED), 404, "POLICY_NOT_FOUND")


async def test_a_dry_run_looks_at_a_bounded_window(locked: Api) -> None:
    for _ in range(3):
        body = {"task": "Write a haiku."}
        task_id = (await locked.client.post("/v1/agent/execute", json=body, headers=RED)).json()["task_id"]
        await locked.core.tasks.update_one({"_id": task_id}, {"$set": {"selected_agent": "ContentAgent"}})

    async def tried(**window: Any) -> Any:
        body = {"policy": "version: 1", **window}
        return await locked.client.post("/v1/policies/dry-run", json=body, headers=RED)

    page = (await tried(limit=2)).json()
    rest = (await tried(until=page["oldest"])).json()

    assert (page["examined"], rest["examined"]) == (2, 1)
    assert (await tried(since="2999-01-01T00:00:00Z")).json()["examined"] == 0
    problem_of(await tried(limit=501), 422, "VALIDATION_ERROR")
    problem_of(await tried(since="2026-02-01", until="2026-01-01"), 422, "VALIDATION_ERROR")
