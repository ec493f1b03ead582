"""Sessions over HTTP: what a client sees of a conversation, and what is left when it deletes one."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from pydantic import BaseModel

from app.sessions.schemas import MessageListResponse, SessionListResponse, SessionResponse
from app.tasks.schemas import TaskListResponse
from tests.api.conftest import StartApi
from tests.api.harness import RESULT, Api, Json, api_settings, conforms, fields_of, problem_of, stores_of
from tests.api.serving import served_api
from tests.api.test_cli_commands import Terminal
from tests.processes import Server

COST = {"prompt_tokens": 6, "completion_tokens": 4, "total_tokens": 10, "usd_estimate": 0.5, "model_calls": 2}
KEYS = "key-of-red:red:member,key-of-blue:blue:member,key-to-watch:red:viewer"
RED, BLUE, WATCHER = ({"X-API-Key": key} for key in ("key-of-red", "key-of-blue", "key-to-watch"))


async def read(api: Api, path: str, model: type[BaseModel], **params: Any) -> Json:
    response = await api.get(f"/v1/sessions{path}", params=params)
    assert response.status_code == 200, response.text
    body: Json = response.json()
    conforms(model, body)
    return body


async def delete(api: Api, session_id: str, **options: Any) -> httpx.Response:
    return await api.client.delete(f"/v1/sessions/{session_id}", **options)


async def answered(api: Api, task: str, *, session_id: str = "demo") -> str:
    """A task of a session that a worker has done; its session is known to the workers."""
    task_id = await api.submit(task, session_id=session_id)
    job = await api.core.repository.get("default", task_id)
    await api.app.state.sessions._sessions.touch("default", session_id, asked_at=job["created_at"])
    await api.hand().complete(task_id, cost=COST)
    return task_id


async def written(api: Api, messages: int) -> None:
    """Return when so many messages are in the store: they follow a moment after their tasks."""
    async with asyncio.timeout(10):
        while await api.core.database["messages"].count_documents({}) < messages:  # noqa: ASYNC110 - nothing tells
            await asyncio.sleep(0.01)


async def test_a_session_shows_what_its_tasks_come_to(api: Api) -> None:
    await answered(api, "Write a haiku")
    failed = await api.submit("Book a flight", session_id="demo")
    await api.hand().fail(failed)
    await answered(api, "Something else", session_id="another")
    await written(api, 3)

    session = await read(api, "/demo", SessionResponse)

    assert session["session_id"] == "demo"
    assert (session["task_count"], session["message_count"]) == (2, 2)
    assert session["cost"] == {"tokens": 10, "usd": 0.5}
    assert session["has_summary"] is False
    assert session["created_at"] < session["last_activity_at"] < session["expires_at"]


async def test_a_task_without_a_session_of_its_own_has_one_that_can_be_read(api: Api) -> None:
    accepted = (await api.execute("Write a haiku")).json()

    session = await read(api, f"/{accepted['session_id']}", SessionResponse)

    assert session["task_count"] == 1
    assert (await read(api, "", SessionListResponse))["items"] == []


async def test_messages_are_read_page_by_page_in_order(api: Api) -> None:
    for number in (1, 2):
        await api.submit(f"Question {number}", session_id="demo")
    await written(api, 2)

    first = await read(api, "/demo/messages", MessageListResponse, page_size=1)
    second = await read(api, "/demo/messages", MessageListResponse, page_size=1, cursor=first["next_cursor"])

    told = [(item["role"], item["content"]) for item in (*first["items"], *second["items"])]
    assert told == [("user", "Question 1"), ("user", "Question 2")]
    assert first["meta"]["total_items"] == 2
    assert second["next_cursor"] is None


async def test_the_tasks_of_a_session_are_listed_as_tasks_are(api: Api) -> None:
    old, new = await answered(api, "First"), await answered(api, "Second")
    await api.submit("Other", session_id="another")

    page = await read(api, "/demo/tasks", TaskListResponse, page_size=1)
    rest = await read(api, "/demo/tasks", TaskListResponse, page_size=1, cursor=page["next_cursor"])

    assert [item["task_id"] for item in (*page["items"], *rest["items"])] == [new, old]
    assert page["items"][0]["summary"] == RESULT["summary"]
    assert page["meta"]["total_items"] == 2


async def test_sessions_are_listed_with_the_newest_activity_first(api: Api) -> None:
    for session_id in ("a", "b", "c"):
        await answered(api, "Hello", session_id=session_id)
    await answered(api, "Again", session_id="a")

    page = await read(api, "", SessionListResponse, page_size=2)
    rest = await read(api, "", SessionListResponse, page_size=2, cursor=page["next_cursor"])

    assert [item["session_id"] for item in (*page["items"], *rest["items"])] == ["a", "c", "b"]
    assert page["meta"]["total_items"] == 3


async def test_a_deleted_session_is_not_found_and_its_tasks_stay(api: Api) -> None:
    task_id = await answered(api, "Write a haiku")
    await written(api, 1)

    deleted = await delete(api, "demo")

    assert (deleted.status_code, deleted.content) == (204, b"")
    for path in ("", "/messages", "/tasks"):
        problem_of(await api.get(f"/v1/sessions/demo{path}"), 404, "SESSION_NOT_FOUND")
    problem_of(await delete(api, "demo"), 404, "SESSION_NOT_FOUND")
    assert await api.core.database["messages"].count_documents({}) == 0
    assert (await read(api, "", SessionListResponse))["items"] == []
    assert (await api.read(task_id))["result"]["raw_output"] == RESULT["raw_output"]


async def test_a_session_lives_again_with_the_next_task_and_without_the_old_ones(api: Api) -> None:
    await answered(api, "Before")
    await delete(api, "demo")

    after = await answered(api, "After")

    assert (await read(api, "/demo", SessionResponse))["task_count"] == 1
    page = await read(api, "/demo/tasks", TaskListResponse)
    assert [item["task_id"] for item in page["items"]] == [after]


@pytest.mark.parametrize("path", ["nobody", "%24where", "x" * 128, "a%00b"])
async def test_a_session_that_is_not_there_is_not_found(api: Api, path: str) -> None:
    problem_of(await api.get(f"/v1/sessions/{path}"), 404, "SESSION_NOT_FOUND")


async def test_a_name_that_no_session_can_have_is_invalid(api: Api) -> None:
    body = problem_of(await api.get(f"/v1/sessions/{'x' * 129}"), 422, "VALIDATION_ERROR")

    assert fields_of(body) == ["session_id"]


async def test_another_tenant_neither_sees_nor_deletes_a_session(start_api: StartApi) -> None:
    async with start_api(api_keys=KEYS) as api:
        await api.submit("A secret", session_id="shared", headers=RED)
        await written(api, 1)

        for path in ("", "/messages", "/tasks"):
            problem_of(await api.get(f"/v1/sessions/shared{path}", headers=BLUE), 404, "SESSION_NOT_FOUND")
        problem_of(await delete(api, "shared", headers=BLUE), 404, "SESSION_NOT_FOUND")
        problem_of(await delete(api, "shared", headers=WATCHER), 403, "FORBIDDEN")

        messages = (await api.get("/v1/sessions/shared/messages", headers=WATCHER)).json()["items"]
        assert [message["content"] for message in messages] == ["A secret"]


@pytest.fixture
async def terminal(store: Server, redis_url: str) -> AsyncIterator[Terminal]:
    async with served_api(api_settings(**stores_of(store, redis_url))) as served:
        yield Terminal(served)


async def test_the_command_line_lists_shows_and_deletes_a_session(terminal: Terminal) -> None:
    await answered(terminal.api, "Write a haiku")

    listed = await terminal.prints("sessions", "list")
    shown = await terminal.prints("sessions", "show", "demo")
    as_json = await terminal.json("sessions", "show", "demo")
    deleted = await terminal.prints("sessions", "delete", "demo")
    refused = await terminal.fails("sessions", "show", "demo")

    assert [line.split()[0] for line in listed.splitlines()] == ["session", "demo"]
    assert "10 tokens, $0.500000" in shown
    assert as_json["task_count"] == 1
    assert deleted == "demo is deleted\n"
    assert "SESSION_NOT_FOUND" in refused.message
