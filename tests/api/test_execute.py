from datetime import datetime, timedelta
from uuid import UUID

import pytest

from app.tasks.schemas import AcceptedResponse, TaskResponse
from tests.api.harness import WRITING, Api, conforms


async def test_a_task_is_accepted_with_its_id_and_where_to_find_it(api: Api) -> None:
    response = await api.execute(session_id="demo")

    assert response.status_code == 202
    body = response.json()
    conforms(AcceptedResponse, body)
    assert UUID(body["task_id"]).version == 7
    assert body["session_id"] == "demo"
    assert body["status"] == "queued"
    assert body["message"] == "Task accepted and queued."
    assert body["api_version"] == "v1"
    assert body["queued_at"].endswith("Z")
    assert response.headers["location"] == f"/v1/tasks/{body['task_id']}"
    assert "preference-applied" not in response.headers


async def test_the_location_leads_to_the_task(api: Api) -> None:
    response = await api.execute()

    found = await api.get(response.headers["location"])

    body = found.json()
    conforms(TaskResponse, body)
    assert body["input_text"] == WRITING
    assert body["status"] == "queued"
    assert body["queued_at"] == response.json()["queued_at"]
    assert body["attempt"] == 0
    assert [entry["reason"] for entry in body["history"]] == ["accepted"]


async def test_a_task_without_a_session_gets_one_of_its_own(api: Api) -> None:
    first, second = (await api.execute()).json(), (await api.execute()).json()

    assert UUID(first["session_id"])
    assert first["session_id"] != second["session_id"]


async def test_what_a_client_may_add_is_kept(api: Api) -> None:
    metadata = {"team": "blue", "nr": 7, "ratio": 0.5, "urgent": True, "note": None}

    task_id = await api.submit(agent="CodeAgent", priority=9, deadline_seconds=60, metadata=metadata)

    task = await api.read(task_id)
    assert task["metadata"] == metadata
    assert task["priority"] == 9
    created, deadline = (datetime.fromisoformat(task[name]) for name in ("created_at", "deadline_at"))
    assert abs(deadline - created - timedelta(seconds=60)) < timedelta(seconds=1)


async def test_a_budget_is_kept_with_the_task(api: Api) -> None:
    task_id = await api.submit(budget={"usd": 0.05, "tokens": 1000})

    assert (await api.read(task_id))["budget"] == {
        "usd": 0.05,
        "tokens": 1000,
        "model_calls": None,
        "wall_seconds": None,
        "on_exceeded": "fail",
    }


@pytest.mark.parametrize(
    "text",
    [
        "Write about 日本語, ёлки and 🦊.",
        "Write\n\tan indented\r\nlist.",
        "Write about the string \\u0000 and <script>alert(1)</script>.",
        "x" * 32 * 1024,
        "é" * 16 * 1024,
        "  padded  ",
    ],
    ids=["unicode", "line breaks", "looks dangerous", "just short enough", "just short enough in bytes", "padded"],
)
async def test_any_real_text_is_accepted_and_kept_as_it_is(api: Api, text: str) -> None:
    task_id = await api.submit(text)

    assert (await api.read(task_id))["input_text"] == text


@pytest.mark.parametrize("session_id", ["a", "A.b_c:d-9", "9", "x" * 128])
async def test_a_session_id_of_letters_digits_and_marks_is_accepted(api: Api, session_id: str) -> None:
    response = await api.execute(session_id=session_id)

    assert response.json()["session_id"] == session_id


async def test_prefer_wait_answers_with_the_task_once_it_has_ended(api: Api) -> None:
    hand = api.hand()
    task_id = await api.submit(headers={"Idempotency-Key": "once"})
    await hand.complete(task_id)

    response = await api.execute(headers={"Idempotency-Key": "once", "Prefer": "respond-async, wait=5"})

    assert response.status_code == 202
    assert response.headers["preference-applied"] == "wait=5"
    body = response.json()
    conforms(AcceptedResponse, body)
    assert body["status"] == "completed"
    assert body["task"]["result"]["summary"] == "A post about queues."


async def test_prefer_wait_answers_with_the_open_task_when_the_time_is_over(api: Api) -> None:
    response = await api.execute(headers={"Prefer": "wait=1"})

    assert response.status_code == 202
    assert response.headers["preference-applied"] == "wait=1"
    assert response.json()["status"] == "queued"
    assert response.json()["task"] is None


async def test_a_longer_wait_than_thirty_seconds_is_not_promised(api: Api) -> None:
    await api.hand().complete(await api.submit(headers={"Idempotency-Key": "once"}))

    response = await api.execute(headers={"Idempotency-Key": "once", "Prefer": "wait=3600"})

    assert response.headers["preference-applied"] == "wait=30"


@pytest.mark.parametrize("prefer", ["wait=soon", "wait=-1", "return=minimal", "wait"])
async def test_a_preference_nobody_understands_is_ignored(api: Api, prefer: str) -> None:
    response = await api.execute(headers={"Prefer": prefer})

    assert response.status_code == 202
    assert "preference-applied" not in response.headers


async def test_the_question_becomes_a_message_of_the_session(api: Api) -> None:
    task_id = await api.submit("What is a lease?", session_id="talk")

    await api.core.messages.close()
    found = await api.core.documents("messages").find_one({"_id": f"{task_id}:user"})
    assert found is not None
    assert (found["session_id"], found["role"], found["content"]) == ("talk", "user", "What is a lease?")
