"""`/v1/audit` over a real store: what is recorded, who may read it, and that it can be proved."""

import asyncio
import json
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest

from app.bootstrap.retention import build_retention
from app.governance.audit.entries import Head
from app.governance.audit.key_use import MOST_REFUSALS
from app.governance.audit.repository import COLLECTION
from app.governance.audit.routes import AuditListResponse
from app.governance.audit.verification import Break, Verification
from tests.api.conftest import StartApi
from tests.api.harness import Api, Json, conforms, problem_of
from tests.api.routes import A_WORKFLOW
from tests.api.test_effects import dies_while_firing, effects_of, failed, resolve
from tests.effect_builders import Receiver

KEYS = (
    "key-of-red:red:member,key-of-mate:red:member,key-to-watch:red:viewer,key-of-boss:red:admin,key-of-rival:blue:admin"
)
RED, MATE, WATCHER, BOSS, RIVAL = (
    {"X-API-Key": key} for key in ("key-of-red", "key-of-mate", "key-to-watch", "key-of-boss", "key-of-rival")
)
PATIENCE = 20
BUDGET = "/v1/budgets/tenant/red"


@pytest.fixture
async def locked(start_api: StartApi) -> AsyncIterator[Api]:
    async with start_api(api_keys=KEYS, default_tenant="red") as api:
        yield api


async def entries(api: Api, *, headers: Any = BOSS, **query: Any) -> list[Json]:
    """The acts that are asked for, oldest first; without a filter not those of keys and what they may not do."""
    answer = await api.get("/v1/audit", headers=headers, params={"page_size": 100, **query})
    assert answer.status_code == 200, answer.text
    conforms(AuditListResponse, answer.json())
    found = [one for one in answer.json()["items"] if query or not one["kind"].startswith(("key.", "access."))]
    return found[::-1]


async def recorded(api: Api, count: int, **query: Any) -> list[Json]:
    """What is recorded in passing comes a moment later."""
    async with asyncio.timeout(PATIENCE):
        while len(found := await entries(api, **query)) < count:  # noqa: ASYNC110 - another task writes it
            await asyncio.sleep(0.01)
    return found


async def verify(api: Api, *anchors: Head) -> Break | None:
    answer = await api.get("/v1/audit/export", headers=BOSS)
    assert answer.headers["content-type"].startswith("application/x-ndjson")
    verification = Verification(anchors=anchors)
    for line in answer.text.splitlines():
        verification.take(json.loads(line))
    return verification.finish()


async def put_budget(api: Api, tokens: int) -> None:
    answer = await api.client.put(BUDGET, json={"day": {"tokens": tokens}}, headers=BOSS)
    assert answer.status_code == 200, answer.text


async def test_administrative_acts_are_recorded_with_who_and_what(locked: Api) -> None:
    boss = (await locked.client.put(BUDGET, json={"day": {"tokens": 7}}, headers=BOSS)).json()["stored"]["updated_by"]
    await locked.client.delete(BUDGET, headers=BOSS)
    stored = (await locked.post("/v1/workflows", A_WORKFLOW, headers=BOSS)).json()
    await locked.client.delete(f"/v1/workflows/{A_WORKFLOW['name']}", headers=BOSS)
    await locked.submit(headers=RED, session_id="a-talk")
    await locked.client.delete("/v1/sessions/a-talk", headers=BOSS)

    found = await entries(locked)

    assert [(one["kind"], one["subject"]) for one in found] == [
        ("budget.put", {"scope": "tenant", "name": "red"}),
        ("budget.deleted", {"scope": "tenant", "name": "red"}),
        ("workflow.put", {"workflow": A_WORKFLOW["name"]}),
        ("workflow.deleted", {"workflow": A_WORKFLOW["name"]}),
        ("session.deleted", {"session_id": "a-talk"}),
    ]
    assert found[0]["detail"] == {"limits": {"day": {"tokens": 7}}}
    assert found[2]["detail"] == {"digest": stored["digest"], "is_new": True, "current": True}
    assert {one["actor"] for one in found} == {boss}
    assert await verify(locked) is None


async def test_a_cancel_by_another_key_is_recorded_and_that_of_ones_own_task_is_not(locked: Api) -> None:
    mine, theirs = await locked.submit(headers=RED), await locked.submit(headers=RED)

    for task_id, headers in ((mine, RED), (theirs, MATE)):
        assert (await locked.post(f"/v1/tasks/{task_id}/cancel", headers=headers)).status_code == 202

    [only] = await entries(locked)
    assert (only["kind"], only["subject"]) == ("task.cancelled", {"task_id": theirs})
    assert only["detail"]["owner"] != only["actor"]


async def test_what_is_done_to_the_work_of_others_is_recorded(locked: Api) -> None:
    failed_task = await locked.submit(headers=RED)
    await locked.hand().fail(failed_task, error_type="LLM_ERROR")
    await locked.post("/v1/workflows", A_WORKFLOW, headers=RED)
    begun = await locked.post(f"/v1/workflows/{A_WORKFLOW['name']}/execute", {}, headers=RED)
    execution_id = begun.json()["execution_id"]
    acts = [f"tasks/{failed_task}/retry", *(f"executions/{execution_id}/{verb}" for verb in ("pause", "resume"))]

    for path in acts:
        answer = await locked.post(f"/v1/{path}", headers=MATE)
        assert answer.status_code == 202, answer.text
    await locked.post(f"/v1/executions/{execution_id}/pause", headers=RED)

    found = [(one["kind"], *one["subject"].values()) for one in (await entries(locked))[1:]]
    assert found == [
        ("task.retried", failed_task),
        ("execution.paused", execution_id),
        ("execution.resumed", execution_id),
    ]


async def test_redrives_are_recorded_one_by_one_and_in_bulk(locked: Api) -> None:
    dead = [await locked.submit(headers=RED) for _ in range(3)]
    for task_id in dead:
        await locked.hand().fail(task_id, error_type="LLM_ERROR")

    await locked.post(f"/v1/dead-letters/{dead[0]}/redrive", headers=MATE)
    await locked.post("/v1/dead-letters/redrive", {"error_type": "LLM_ERROR"}, headers=MATE)

    one, many = await entries(locked)
    assert (one["kind"], one["subject"]) == ("dead_letter.redriven", {"task_id": dead[0]})
    assert (many["kind"], many["detail"]["redriven"]) == ("dead_letters.redriven", 2)
    assert many["detail"]["filters"]["error_type"] == "LLM_ERROR"


async def test_what_was_refused_is_not_recorded_as_done(locked: Api) -> None:
    await locked.client.put(BUDGET, json={"day": {"tokens": 7}}, headers=RED)
    await locked.client.put(BUDGET, json={"day": {"tokens": -7}}, headers=BOSS)
    await locked.client.delete(BUDGET, headers=BOSS)

    assert await entries(locked) == []


async def test_the_first_use_of_a_key_and_every_wrong_key_are_recorded(locked: Api) -> None:
    for _ in range(3):
        await locked.get("/v1/tasks", headers=RED)
    for _ in range(2):
        await locked.get("/v1/tasks", headers={"X-API-Key": "a-wrong-secret-key"})

    refused = await recorded(locked, 2, kind="key.refused")
    used = await recorded(locked, 2, kind="key.used")
    assert [one["actor"] for one in refused] == ["unknown", "unknown"]
    assert refused[0]["detail"] == {"method": "GET", "path": "/v1/tasks", "left_out": 0}
    assert sorted(one["detail"]["role"] for one in used) == ["admin", "member"]
    assert "a-wrong-secret-key" not in json.dumps(await entries(locked, subject="127.0.0.1"))


async def test_what_a_key_may_not_do_is_recorded_whoever_says_so(locked: Api) -> None:
    await locked.client.put(BUDGET, json={"day": {"tokens": 7}}, headers=RED)
    await locked.get("/v1/audit/export", headers=RED)
    await locked.post("/v1/agent/execute", {"task": "Write."}, headers=WATCHER)

    found = await recorded(locked, 3, kind="access.denied")

    assert [one["subject"]["path"] for one in found] == [BUDGET, "/v1/audit/export", "/v1/agent/execute"]
    assert [(one["detail"]["method"], one["detail"]["role"]) for one in found] == [
        ("PUT", "member"),
        ("GET", "member"),
        ("POST", "viewer"),
    ]
    assert "unknown" not in {one["actor"] for one in found}


async def test_an_export_is_recorded_and_is_the_last_entry_of_what_it_exports(locked: Api) -> None:
    answer = await locked.get("/v1/audit/export", headers=BOSS, params={"from": "2026-01-01"})

    last = json.loads(answer.text.splitlines()[-1])
    assert (last["kind"], last["detail"]) == ("audit.exported", {"since": "2026-01-01T00:00:00.000Z"})


async def test_strangers_cannot_fill_the_trail(locked: Api) -> None:
    for number in range(MOST_REFUSALS + 5):
        await locked.get("/v1/tasks", headers={"X-API-Key": f"a-wrong-key-{number}"})

    assert len(await recorded(locked, MOST_REFUSALS, kind="key.refused")) == MOST_REFUSALS


async def test_acts_are_found_by_kind_actor_subject_and_time_page_by_page(locked: Api) -> None:
    for tokens in range(1, 6):
        await put_budget(locked, tokens)
    await locked.post("/v1/workflows", A_WORKFLOW, headers=MATE)

    puts = await entries(locked, kind="budget.put")
    third = puts[2]["at"]
    earlier = await entries(locked, kind="budget.put", to=third)
    later = await entries(locked, kind="budget.put", **{"from": third})
    page = (await locked.get("/v1/audit", headers=BOSS, params={"kind": "budget.put", "page_size": 2})).json()
    rest = await entries(locked, kind="budget.put", cursor=page["next_cursor"])

    assert [one["detail"]["limits"]["day"]["tokens"] for one in puts] == [1, 2, 3, 4, 5]
    assert earlier + later == puts
    assert rest + page["items"][::-1] == puts
    assert page["meta"]["total_items"] == 5
    assert [one["kind"] for one in await entries(locked, subject=A_WORKFLOW["name"])] == ["workflow.put"]
    [mate] = {one["actor"] for one in await entries(locked, kind="workflow.put")}
    assert {one["kind"] for one in await entries(locked, actor=mate)} <= {"workflow.put", "key.used"}


@pytest.mark.parametrize("path", ["/v1/audit", "/v1/audit/head", "/v1/audit/export"])
async def test_only_an_admin_reads_it(locked: Api, path: str) -> None:
    for headers in (RED, WATCHER):
        problem_of(await locked.get(path, headers=headers), 403, "FORBIDDEN")


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
async def test_nobody_changes_it_over_http(locked: Api, method: str) -> None:
    answer = await locked.client.request(method, "/v1/audit", headers=BOSS, json={})

    problem_of(answer, 405, "METHOD_NOT_ALLOWED")


async def test_another_tenants_admin_sees_none_of_it(locked: Api) -> None:
    await put_budget(locked, 7)

    theirs = await entries(locked, headers=RIVAL)
    exported = (await locked.get("/v1/audit/export", headers=RIVAL)).text

    assert theirs == []
    assert "budget.put" not in exported


@pytest.mark.parametrize(
    "query", [{"from": "2026-11-22", "to": "2026-11-21"}, {"cursor": "x"}, {"from": "yesterday"}, {"kind": "x" * 201}]
)
async def test_a_query_that_makes_no_sense_is_refused(locked: Api, query: dict[str, str]) -> None:
    assert (await locked.get("/v1/audit", headers=BOSS, params=query)).status_code == 422


async def test_a_cursor_of_another_list_is_refused(locked: Api) -> None:
    for _ in range(2):
        await locked.submit(headers=RED)
    other = (await locked.get("/v1/tasks", headers=RED, params={"page_size": 1})).json()["next_cursor"]

    problem_of(await locked.get("/v1/audit", headers=BOSS, params={"cursor": other}), 422, "INVALID_CURSOR")


async def test_an_entry_that_was_tampered_with_is_shown_as_it_is_and_the_export_proves_it(locked: Api) -> None:
    for tokens in range(1, 4):
        await put_budget(locked, tokens)
    anchor = Head.parse((await locked.get("/v1/audit/head", headers=BOSS)).json()["anchor"])
    [second] = [one for one in await entries(locked) if one["detail"] == {"limits": {"day": {"tokens": 2}}}]
    assert await verify(locked, anchor) is None

    tampered = {"$set": {"detail": "all is well", "subject": 7}, "$unset": {"actor": 1}}
    await locked.core.database[COLLECTION].update_one({"tenant_id": "red", "seq": second["seq"]}, tampered)

    shown = [one for one in await entries(locked) if one["seq"] == second["seq"]]
    assert [(one["detail"], one["actor"]) for one in shown] == [("all is well", None)]
    assert await verify(locked, anchor) == Break(second["seq"], "it was changed")


async def test_what_retention_deletes_is_counted_in_the_trail_and_the_trail_stays(start_api: StartApi) -> None:
    async with start_api(task_retention_days=1) as api:
        for _ in range(2):
            task_id = await api.submit()
            await api.hand().complete(task_id)
            ended = api.core.clock() - timedelta(days=2)
            await api.core.tasks.update_one({"_id": task_id}, {"$set": {"uncounted": False, "completed_at": ended}})

        await build_retention(api.core).delete_batches()

        [deleted] = await entries(api, headers={})
        assert (deleted["kind"], deleted["actor"]) == ("retention.deleted", "system")
        assert (deleted["subject"], deleted["detail"]) == ({"kind": "tasks"}, {"count": 2})


async def test_what_a_person_says_of_an_effect_is_recorded_once(api: Api) -> None:
    task_id = await api.submit()
    job = await api.hand().claim(task_id)
    await dies_while_firing(api, job, Receiver())
    await api.core.store.settle(job, *failed())
    [effect] = await effects_of(api, task_id)

    for _ in range(2):
        await resolve(api, task_id, effect["key"], True)

    [said] = await entries(api, kind="effect.resolved", headers={})
    assert said["subject"] == {"task_id": task_id, "effect": effect["key"]}
    assert (said["actor"], said["detail"]) == ("anonymous", {"happened": True})


async def test_the_trail_of_a_busy_api_is_whole(locked: Api) -> None:
    await asyncio.gather(*(put_budget(locked, tokens) for tokens in range(1, 31)))

    found = await entries(locked, kind="budget.put")

    assert sorted(one["detail"]["limits"]["day"]["tokens"] for one in found) == list(range(1, 31))
    assert await verify(locked) is None
