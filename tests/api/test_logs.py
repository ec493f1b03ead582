"""`/v1/logs` over a real store: sending, searching, and the lines that a worker ships itself."""

import io
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from app.bootstrap.execution import build_execution
from app.logs.reading import MAX_BYTES
from app.logs.repository import COLLECTION
from app.logs.routes import LogListResponse
from app.logs.shipping import LogQueue
from app.observability.logging import configure_logging
from app.tasks.models import COLLECTION as TASKS
from tests.api.conftest import StartApi
from tests.api.harness import Api, Json, conforms, problem_of
from tests.api.world import World

KEYS = "key-of-red:red:member,key-to-watch:red:viewer,key-of-blue:blue:member"
RED, WATCHER, BLUE = ({"X-API-Key": key} for key in ("key-of-red", "key-to-watch", "key-of-blue"))
NDJSON = {"Content-Type": "application/x-ndjson"}
LINE: Json = {"at": "2026-11-21T10:00:00Z", "level": "info", "message": "the crawler began"}
LATER: Json = {
    "at": "2026-11-21T10:00:01Z",
    "level": "error",
    "message": "host answered 503",
    "logger": "crawler",
    "task_id": "a-task",
    "fields": {"http.status": 503, "host": "example.com"},
}


@pytest.fixture
async def locked(start_api: StartApi) -> AsyncIterator[Api]:
    async with start_api(api_keys=KEYS) as api:
        yield api


async def lines(api: Api, headers: Any = None, **query: Any) -> list[Json]:
    answer = await api.get("/v1/logs", headers=headers, params=query)
    assert answer.status_code == 200, answer.text
    conforms(LogListResponse, answer.json())
    return list(answer.json()["items"])


async def test_an_array_of_entries_is_kept_and_found(locked: Api) -> None:
    answer = await locked.post("/v1/logs", [LINE, LATER], headers=RED)

    newest, oldest = await lines(locked, WATCHER)
    assert (answer.status_code, answer.json()["accepted"]) == (202, 2)
    assert {name: newest[name] for name in LATER if name != "at"} == {
        name: LATER[name] for name in LATER if name != "at"
    }
    assert (newest["at"], oldest["message"]) == ("2026-11-21T10:00:01.000Z", "the crawler began")
    assert [one["message"] for one in await lines(locked, RED, q="503 crawler")] == ["host answered 503"]
    assert [one["message"] for one in await lines(locked, RED, q="example.com")] == ["host answered 503"]
    assert await lines(locked, RED, level="critical") == []
    assert len(await lines(locked, RED, task_id="a-task")) == 1


async def test_json_lines_are_kept_and_a_key_keeps_each_once(locked: Api) -> None:
    body = "\n".join(json.dumps(one) for one in (LINE, LATER, ""))[:-3]

    for _ in range(2):
        headers = {**RED, **NDJSON, "Idempotency-Key": "batch 7"}
        assert (await locked.client.post("/v1/logs", content=body, headers=headers)).status_code == 202

    assert len(await lines(locked, RED)) == 2


async def test_pages_lead_to_the_end(locked: Api) -> None:
    await locked.post("/v1/logs", [{**LINE, "message": f"line {number}"} for number in range(7)], headers=RED)
    seen: list[str] = []
    cursor: str | None = ""

    while cursor is not None:
        page = (await locked.get("/v1/logs", headers=RED, params={"page_size": 3, "cursor": cursor})).json()
        seen += [one["message"] for one in page["items"]]
        cursor = page["next_cursor"]

    assert seen == [f"line {number}" for number in reversed(range(7))]


async def test_one_wrong_entry_keeps_none_and_is_named(locked: Api) -> None:
    answer = await locked.post("/v1/logs", [LINE, {**LINE, "level": "loud"}, {**LINE, "extra": 1}], headers=RED)

    problem = problem_of(answer, 422, "LOGS_INVALID")
    assert [one["field"] for one in problem["error"]["details"]] == ["[1].level", "[2].extra"]
    assert await lines(locked, RED) == []


async def test_a_tenant_is_who_sent_it_and_nobody_else_reads_it(locked: Api) -> None:
    await locked.post("/v1/logs", [LINE], headers=RED)

    assert await lines(locked, BLUE) == []
    problem_of(await locked.post("/v1/logs", [LINE], headers=WATCHER), 403, "FORBIDDEN")


@pytest.mark.parametrize(
    ("content", "headers", "status"),
    [
        (b"[" + b" " * MAX_BYTES + b"]", {"Content-Type": "application/json"}, 413),
        (b"[]", {"Content-Type": "text/plain"}, 415),
        (b"[]", {"Content-Type": "application/json", "Content-Encoding": "gzip"}, 415),
        (b"", NDJSON, 422),
        (b"[[[[[[[[]]]]]]]]", {"Content-Type": "application/json"}, 422),
        (b'{"at": 1}', {"Content-Type": "application/json"}, 422),
    ],
    ids=["too large", "no JSON", "compressed", "empty", "deep", "one object"],
)
async def test_hostile_bodies_are_refused(locked: Api, content: bytes, headers: dict[str, str], status: int) -> None:
    answer = await locked.client.post("/v1/logs", content=content, headers={**RED, **headers})

    assert answer.status_code == status, answer.text
    assert await locked.core.database[COLLECTION].count_documents({}) == 0


async def test_senders_are_limited_like_everybody(start_api: StartApi) -> None:
    async with start_api(api_rate_limit_per_minute=2) as api:
        codes = [(await api.post("/v1/logs", [LINE])).status_code for _ in range(4)]

    assert codes == [202, 202, 429, 429]


async def test_a_worker_ships_the_lines_of_a_task_and_not_what_people_wrote(world: World, log: io.StringIO) -> None:
    queue, prompt = LogQueue(), "A very particular sentence about walruses"
    configure_logging(world.api.settings, service="worker", stream=log, tap=queue.put)
    execution = await build_execution(world.api.settings, log_queue=queue)
    task_id = await world.api.submit(prompt, agent="EchoAgent")

    await execution.worked[TASKS].runner.run(task_id, worker="w7")
    await execution.close()

    kept = await lines(world.api, task_id=task_id)
    assert {one["by"] for one in kept} == {"worker"}
    assert "task.done" in {one["message"] for one in kept}
    assert {one["fields"]["service"] for one in kept} == {"worker"}
    assert "walruses" not in json.dumps(kept)
