"""The event stream of a task, over a real socket."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest
from httpx_sse import ServerSentEvent

from app.identity.event_tokens import EventTokens, token_secret
from app.identity.principals import Principal
from app.jobs.models import JobError
from app.settings import Role
from tests.api.harness import NOBODY, Api, Hand, another_process, api_settings, problem_of
from tests.api.serving import Stream, served_api, streaming
from tests.processes import Server

KEYS = "key-of-red:red:member,key-of-blue:blue:member,key-to-watch:red:viewer"
RED, BLUE, WATCHER = ({"X-API-Key": key} for key in ("key-of-red", "key-of-blue", "key-to-watch"))


@pytest.fixture
async def served(store: Server, redis_url: str) -> AsyncIterator[Api]:
    async with served_api(api_settings(store.mongo_uri, redis_url)) as api:
        yield api


@pytest.fixture
async def locked(store: Server, redis_url: str) -> AsyncIterator[Api]:
    async with served_api(api_settings(store.mongo_uri, redis_url, api_keys=KEYS)) as api:
        yield api


def statuses(events: list[ServerSentEvent]) -> list[tuple[str, str]]:
    return [(event.id, event.json()["status"]) for event in events]


async def test_a_client_sees_the_current_status_first_and_then_each_change(served: Api) -> None:
    task_id = await served.submit()

    async with streaming(served, task_id) as stream:
        first = await stream.next()
        await served.hand().complete(task_id)
        rest = await stream.rest()

    assert stream.response.headers["content-type"].startswith("text/event-stream")
    assert statuses([first, *rest]) == [("1", "queued"), ("2", "processing"), ("3", "completed")]


async def test_a_status_is_an_unnamed_event_with_the_members_of_the_contract(served: Api) -> None:
    task_id = await served.submit()
    await served.hand().fail(task_id, error_type="LLM_AUTH", message="the key is wrong")

    async with streaming(served, task_id) as stream:
        event = await stream.next()

    assert event.event == "message"
    data = event.json()
    assert data["event"] == "task.status"
    assert (data["task_id"], data["status"]) == (task_id, "failed")
    assert (data["error_type"], data["error_message"]) == ("LLM_AUTH", "the key is wrong")
    assert data["timestamp"].endswith("Z")


async def test_no_line_names_a_status_event(served: Api) -> None:
    task_id = await served.submit()
    await served.hand().complete(task_id)

    text = (await served.get(f"/v1/tasks/{task_id}/events")).text

    assert not [line for line in text.splitlines() if line.startswith("event:")]


async def test_the_stream_of_a_finished_task_has_its_status_and_ends(served: Api) -> None:
    task_id = await served.submit()
    await served.hand().complete(task_id)

    async with streaming(served, task_id) as stream:
        events = await stream.rest()

    assert statuses(events) == [("3", "completed")]


async def test_changes_made_by_another_process_arrive_at_once(served: Api) -> None:
    task_id = await served.submit()

    async with another_process(served.settings) as worker, streaming(served, task_id) as stream:
        await stream.next()
        async with asyncio.timeout(1.5):
            await Hand(worker).claim(task_id)
            event = await stream.next()

    assert event.json()["status"] == "processing"


@pytest.mark.parametrize("after", ["0", "1", "2", "3", "4"])
async def test_a_client_resumes_behind_what_it_saw_without_a_gap(served: Api, after: str) -> None:
    task_id = await served.submit()
    again = JobError("LLM_ERROR", "a hiccup")
    await served.hand().requeue(task_id, after=timedelta(), error=again)
    await served.hand().complete(task_id)
    everything = [("1", "queued"), ("2", "processing"), ("3", "queued"), ("4", "processing"), ("5", "completed")]

    async with streaming(served, task_id, after=after) as stream:
        events = await stream.rest()

    assert statuses(events) == everything[int(after) :]


async def test_a_client_that_reconnects_again_and_again_sees_every_change_once(served: Api) -> None:
    task_id = await served.submit()
    seen: list[ServerSentEvent] = []

    async def watch_in_pieces() -> None:
        while not seen or seen[-1].json()["status"] != "completed":
            async with streaming(served, task_id, after=seen[-1].id if seen else "0") as stream:
                seen.append(await stream.next())

    watching = asyncio.create_task(watch_in_pieces())
    for _ in range(4):
        await served.hand().requeue(task_id, after=timedelta())
    await served.hand().complete(task_id)
    async with asyncio.timeout(20):
        await watching

    assert [event.id for event in seen] == [str(seq) for seq in range(1, 12)]


@pytest.mark.parametrize("after", ["", "x", "-1", "1.5", "99", "99999999999999999999", "²"], ids=ascii)
async def test_a_place_that_never_was_begins_with_the_current_status(served: Api, after: str) -> None:
    task_id = await served.submit()
    await served.hand().complete(task_id)

    async with served.client.stream(
        "GET", f"/v1/tasks/{task_id}/events", headers=[(b"Last-Event-ID", after.encode())]
    ) as response:
        events = await Stream(response).rest()

    assert statuses(events) == [("3", "completed")]


async def test_a_client_that_saw_the_end_is_told_not_to_come_back(served: Api) -> None:
    task_id = await served.submit()
    await served.hand().complete(task_id)

    response = await served.get(f"/v1/tasks/{task_id}/events", headers={"Last-Event-ID": "3"})

    assert response.status_code == 204


async def test_a_retry_is_streamed_to_its_new_end(served: Api) -> None:
    task_id = await served.submit()
    await served.hand().fail(task_id)
    await served.post(f"/v1/tasks/{task_id}/retry")

    async with streaming(served, task_id, after="3") as stream:
        first = await stream.next()
        await served.hand().complete(task_id)
        rest = await stream.rest()

    assert statuses([first, *rest]) == [("4", "queued"), ("5", "processing"), ("6", "completed")]


async def test_a_client_that_missed_a_whole_series_gets_it_and_goes_on(served: Api) -> None:
    task_id = await served.submit()
    await served.hand().fail(task_id)
    await served.post(f"/v1/tasks/{task_id}/retry")

    async with streaming(served, task_id, after="1") as stream:
        missed = [await stream.next() for _ in range(3)]
        await served.hand().complete(task_id)
        rest = await stream.rest()

    assert [event.json()["status"] for event in missed] == ["processing", "failed", "queued"]
    assert [event.json()["status"] for event in rest] == ["processing", "completed"]


async def test_no_stream_begins_for_a_task_that_is_not_there(served: Api) -> None:
    for task_id in (NOBODY, "nonsense"):
        problem_of(await served.get(f"/v1/tasks/{task_id}/events"), 404, "TASK_NOT_FOUND")


async def test_many_clients_of_one_task_all_see_its_end(served: Api) -> None:
    task_id = await served.submit()

    async def watch() -> list[ServerSentEvent]:
        async with streaming(served, task_id) as stream:
            return await stream.rest()

    watching = [asyncio.create_task(watch()) for _ in range(20)]
    await served.hand().complete(task_id)
    seen = await asyncio.gather(*watching)

    assert {events[-1].json()["status"] for events in seen} == {"completed"}


async def token_for(api: Api, task_id: str, **options: Any) -> str:
    response = await api.post(f"/v1/tasks/{task_id}/events/token", **options)
    assert response.status_code == 201, response.text
    assert response.json()["expires_in"] == 300
    return str(response.json()["token"])


async def test_a_token_opens_the_stream_of_its_task_without_a_header(locked: Api) -> None:
    task_id = await locked.submit(headers=RED)
    token = await token_for(locked, task_id, headers=RED)

    async with streaming(locked, task_id, token=token) as stream:
        event = await stream.next()

    assert event.json()["status"] == "queued"


async def test_a_token_opens_nothing_else(locked: Api) -> None:
    mine, other = await locked.submit(headers=RED), await locked.submit(headers=RED)
    token = {"token": await token_for(locked, mine, headers=RED)}

    for method, path in [
        ("GET", f"/v1/tasks/{other}/events"),
        ("GET", f"/v1/tasks/{mine}"),
        ("GET", "/v1/tasks"),
        ("POST", f"/v1/tasks/{mine}/cancel"),
        ("POST", f"/v1/tasks/{mine}/events/token"),
        ("POST", f"/v1/tasks/{mine}/events"),
    ]:
        response = await locked.client.request(method, path, params=token)
        problem_of(response, 401, "UNAUTHENTICATED")


@pytest.mark.parametrize("token", ["", "x", "a.b.c", "x" * 5000, "é"])
async def test_a_forged_token_is_refused(locked: Api, token: str) -> None:
    task_id = await locked.submit(headers=RED)

    problem_of(await locked.get(f"/v1/tasks/{task_id}/events", params={"token": token}), 401, "UNAUTHENTICATED")


async def test_a_token_older_than_five_minutes_is_refused(locked: Api) -> None:
    task_id = await locked.submit(headers=RED)
    issued_at = locked.core.clock() - timedelta(minutes=5, seconds=5)
    tokens = EventTokens(token_secret(locked.settings), clock=lambda: issued_at)
    token = tokens.issue(Principal("red", Role.MEMBER, "k"), task_id)

    problem_of(await locked.get(f"/v1/tasks/{task_id}/events", params={"token": token}), 401, "UNAUTHENTICATED")


async def test_another_tenant_gets_neither_token_nor_stream(locked: Api) -> None:
    task_id = await locked.submit(headers=RED)

    problem_of(await locked.post(f"/v1/tasks/{task_id}/events/token", headers=BLUE), 404, "TASK_NOT_FOUND")
    problem_of(await locked.get(f"/v1/tasks/{task_id}/events", headers=BLUE), 404, "TASK_NOT_FOUND")


async def test_a_viewer_may_get_a_token(locked: Api) -> None:
    task_id = await locked.submit(headers=RED)

    await token_for(locked, task_id, headers=WATCHER)
