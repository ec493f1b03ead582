"""`…/legal-hold` over a real store: what is held stays, whoever would delete it and however old it is."""

from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest

from app.bootstrap.legal_holds import build_hold_keeper
from app.bootstrap.retention import build_execution_retention, build_retention
from app.governance.legal_holds.keeping import AHEAD
from app.governance.legal_holds.schemas import LegalHoldListResponse, LegalHoldResponse
from app.sessions.messages import message_ids
from tests.api.conftest import StartApi
from tests.api.harness import NOBODY, Api, Json, conforms, problem_of
from tests.effect_builders import MAIL, Receiver, an_attempt
from tests.execution_builders import a_step, an_execution, ended

KEYS = "key-of-red:red:member,key-of-boss:red:admin,key-of-rival:blue:admin"
RED, BOSS, RIVAL = ({"X-API-Key": key} for key in ("key-of-red", "key-of-boss", "key-of-rival"))
DAY = timedelta(days=1)
REASON = "case 2026-114"


@pytest.fixture
async def api(start_api: StartApi) -> AsyncIterator[Api]:
    async with start_api(task_retention_days=1) as started:
        yield started


@pytest.fixture
async def locked(start_api: StartApi) -> AsyncIterator[Api]:
    async with start_api(api_keys=KEYS, default_tenant="red") as started:
        yield started


async def place(api: Api, path: str, reason: str = REASON, **headers: str) -> Json:
    answer = await api.client.put(f"/v1/{path}/legal-hold", json={"reason": reason}, headers=headers)
    assert answer.status_code == 200, answer.text
    conforms(LegalHoldResponse, answer.json())
    found: Json = answer.json()
    return found


async def release(api: Api, path: str, **headers: str) -> int:
    return (await api.client.delete(f"/v1/{path}/legal-hold", headers=headers)).status_code


async def held(api: Api, query: str = "", **headers: str) -> list[Json]:
    answer = await api.get(f"/v1/legal-holds{query}", headers=headers)
    conforms(LegalHoldListResponse, answer.json())
    found: list[Json] = answer.json()["items"]
    return found


async def an_old_task(api: Api, **body: Any) -> str:
    task_id = await api.submit(**body)
    await api.hand().complete(task_id)
    await age(api.core.tasks, api, task_id)
    return task_id


async def age(documents: Any, api: Api, job_id: str) -> None:
    ended_at = api.core.clock() - 2 * DAY
    await documents.update_one({"_id": job_id}, {"$set": {"uncounted": False, "completed_at": ended_at}})


async def an_old_execution(api: Api) -> str:
    execution = an_execution(tenant_id="default", status="completed", begun_at=api.core.clock())
    await api.core.executions.documents.insert(dict(execution.document))
    step = ended(a_step(execution_id=execution.id), 2)
    await api.core.steps.documents.insert({**step, "tenant_id": "default", "heard": True})
    await age(api.core.executions.documents, api, execution.id)
    return execution.id


async def test_an_old_task_is_deleted_only_once_it_is_released(api: Api) -> None:
    kept, other = await an_old_task(api), await an_old_task(api)
    hold = await place(api, f"tasks/{kept}")

    deleted = await build_retention(api.core).delete_batches()

    assert deleted == 1
    assert (await api.read(kept))["legal_hold"] == {name: hold[name] for name in ("reason", "placed_by", "placed_at")}
    assert (await api.get(f"/v1/tasks/{other}")).status_code == 404
    problem_of(await api.client.put(f"/v1/tasks/{other}/legal-hold", json={"reason": "x"}), 404, "TASK_NOT_FOUND")
    assert await release(api, f"tasks/{kept}") == 204
    assert (await api.read(kept))["legal_hold"] is None
    assert await build_retention(api.core).delete_batches() == 1
    assert (await api.get(f"/v1/tasks/{kept}")).status_code == 404


async def test_an_old_execution_is_kept_with_its_steps_until_it_is_released(api: Api) -> None:
    execution_id = await an_old_execution(api)
    path = f"executions/{execution_id}"
    await place(api, path)

    assert await build_execution_retention(api.core).delete_batches() == 0
    assert [step["path"] for step in (await api.get(f"/v1/{path}/steps")).json()["items"]] == ["say"]
    assert (await api.get(f"/v1/{path}")).json()["legal_hold"]["reason"] == REASON
    assert await release(api, path) == 204
    assert await build_execution_retention(api.core).delete_batches() == 1
    problem_of(await api.client.delete(f"/v1/{path}/legal-hold"), 404, "EXECUTION_NOT_FOUND")


async def test_a_hold_that_falls_between_the_look_and_the_deletion_keeps_its_task(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    task_id = await an_old_task(api)
    find_many = api.core.tasks.find_many

    async def found_and_then_held(*args: Any, **options: Any) -> Any:
        found = await find_many(*args, **options)
        await place(api, f"tasks/{task_id}")
        return found

    monkeypatch.setattr(api.core.tasks, "find_many", found_and_then_held)
    deleted = await build_retention(api.core).delete_old()
    monkeypatch.undo()

    assert deleted == 0
    assert (await api.read(task_id))["status"] == "completed"


async def test_the_same_hold_again_changes_nothing_and_another_reason_takes_its_place(api: Api) -> None:
    task_id = await api.submit()

    first, again = await place(api, f"tasks/{task_id}"), await place(api, f"tasks/{task_id}")
    other = await place(api, f"tasks/{task_id}", "case 2026-115")
    released = [await release(api, f"tasks/{task_id}") for _ in range(2)]

    assert first == again
    assert (other["reason"], other["kind"], other["subject_id"]) == ("case 2026-115", "task", task_id)
    assert released == [204, 204]
    recorded = (await api.get(f"/v1/audit?subject={task_id}")).json()["items"][::-1]
    assert [(one["kind"], one["detail"]["reason"]) for one in recorded] == [
        ("legal_hold.placed", REASON),
        ("legal_hold.placed", "case 2026-115"),
        ("legal_hold.released", "case 2026-115"),
    ]


async def test_holds_are_listed_newest_first_over_all_kinds_and_page_by_page(api: Api) -> None:
    tasks = [await api.submit() for _ in range(3)]
    execution_id = await an_old_execution(api)
    expected = [(f"tasks/{task_id}", task_id) for task_id in tasks] + [(f"executions/{execution_id}", execution_id)]
    for path, _ in expected:
        await place(api, path)
    newest_first = [subject_id for _, subject_id in expected[::-1]]

    pages = [await held(api, f"?page_size=3&page={page}") for page in (1, 2)]
    cursor = (await api.get("/v1/legal-holds?page_size=3")).json()["next_cursor"]
    rest = (await api.get(f"/v1/legal-holds?page_size=3&cursor={cursor}")).json()
    of_executions = await held(api, "?kind=execution")

    assert [[one["subject_id"] for one in page] for page in pages] == [newest_first[:3], newest_first[3:]]
    assert ([one["subject_id"] for one in rest["items"]], rest["next_cursor"]) == (newest_first[3:], None)
    assert rest["meta"]["total_items"] == 4
    assert [(one["kind"], one["subject_id"]) for one in of_executions] == [("execution", execution_id)]


async def test_only_admins_of_the_same_tenant_place_and_release(locked: Api) -> None:
    path = f"tasks/{await locked.submit(headers=RED)}"
    url, body = f"/v1/{path}/legal-hold", {"reason": REASON}

    problem_of(await locked.client.put(url, json=body, headers=RED), 403, "FORBIDDEN")
    problem_of(await locked.client.put(url, json=body, headers=RIVAL), 404, "TASK_NOT_FOUND")
    await place(locked, path, **BOSS)
    problem_of(await locked.client.delete(url, headers=RED), 403, "FORBIDDEN")
    problem_of(await locked.client.delete(url, headers=RIVAL), 404, "TASK_NOT_FOUND")

    assert len(await held(locked, **RED)) == 1
    assert await held(locked, **RIVAL) == []


@pytest.mark.parametrize("reason", ["", "   ", "x" * 1001, None, 7])
async def test_a_hold_needs_a_reason(api: Api, reason: Any) -> None:
    answer = await api.client.put(f"/v1/tasks/{NOBODY}/legal-hold", json={"reason": reason})

    problem_of(answer, 422, "VALIDATION_ERROR")


async def test_what_the_store_removes_by_itself_cannot_be_held(api: Api) -> None:
    task_id = (await api.post("/v1/agent/route?wait=1", {"task": "Write about tea"})).json()["task_id"]

    refused = await api.client.put(f"/v1/tasks/{task_id}/legal-hold", json={"reason": REASON})

    problem_of(refused, 409, "NOT_HOLDABLE")


async def test_a_session_with_a_held_task_is_not_deleted(api: Api) -> None:
    task_id = await api.submit(session_id="a-talk")
    await place(api, f"tasks/{task_id}")

    problem = problem_of(await api.client.delete("/v1/sessions/a-talk"), 409, "UNDER_LEGAL_HOLD")

    assert task_id in problem["detail"]
    await release(api, f"tasks/{task_id}")
    assert (await api.client.delete("/v1/sessions/a-talk")).status_code == 204


async def test_what_would_expire_by_itself_is_given_time_now_and_whenever_the_upkeep_finds_it(api: Api) -> None:
    task_id = await api.submit()
    await api.core.messages.close()
    documents = [api.core.documents(name) for name in ("messages", "effects")]
    keeper = build_hold_keeper(api.core)
    await place(api, f"tasks/{task_id}")
    [said] = await documents[0].find_many({"_id": {"$in": message_ids(task_id)}}, limit=2)
    await an_attempt(api.core.effects, tenant_id="default", task_id=task_id).perform("mail", MAIL, Receiver().take)

    kept = await keeper.keep_some()

    [effect] = await documents[1].find_many({"task_id": task_id}, limit=2)
    soon = api.core.clock() + AHEAD - DAY
    assert said["expires_at"] > soon
    assert (kept, effect["expires_at"] > soon) == (1, True)
    assert await keeper.keep_some() == 0


async def test_what_the_steps_of_a_held_execution_did_outside_is_kept(api: Api) -> None:
    execution_id = await an_old_execution(api)
    [step] = await api.core.steps.documents.find_many({"execution_id": execution_id}, limit=2)
    await an_attempt(api.core.effects, tenant_id="default", task_id=step["_id"]).perform("m", MAIL, Receiver().take)

    await place(api, f"executions/{execution_id}")

    [effect] = await api.core.documents("effects").find_many({"task_id": step["_id"]}, limit=2)
    assert effect["expires_at"] > api.core.clock() + AHEAD - DAY
