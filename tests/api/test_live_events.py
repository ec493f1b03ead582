"""What happens while a task runs, seen over the API: a real worker's kernel, a real Redis, a real socket."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from httpx_sse import ServerSentEvent

from app.agents.registry import Registry
from app.agents.specs import BUILT_IN
from tests.api.harness import api_settings, problem_of, stores_of
from tests.api.serving import Stream, served_api, streaming
from tests.api.telling import TELLING, TellingWorld, started_telling_world
from tests.api.world import StartWorld
from tests.processes import Server

NO_REDIS = "redis://127.0.0.1:9/0"
RED, BLUE = ({"X-API-Key": key} for key in ("key-of-red", "key-of-blue"))


@pytest.fixture
async def world(start_world: StartWorld) -> AsyncIterator[TellingWorld]:
    async with started_telling_world(start_world) as started:
        yield started


async def until(stream: Stream, kind: str, **members: Any) -> list[ServerSentEvent]:
    """What comes up to and with the first event of this kind with these members."""
    events = [await stream.next()]
    while events[-1].event != kind or members.items() - events[-1].json().items():
        events.append(await stream.next())
    return events


def text_of(events: list[ServerSentEvent]) -> str:
    return "".join(event.json()["text"] for event in events if event.event == "token")


def told(events: list[ServerSentEvent]) -> list[str]:
    """Each event in a word, pieces of a text as one."""
    words: list[str] = []
    for event in events:
        data = event.json()
        word = {
            "message": data.get("status"),
            "run": f"run {data.get('phase')}",
            "tool": f"{data.get('tool')} {data.get('phase')}",
            "token": "token",
        }[event.event]
        if not (word == "token" and words and words[-1] == "token"):
            words.append(str(word))
    return words


async def test_tokens_arrive_while_the_model_speaks_and_all_of_them_before_the_final_status(
    world: TellingWorld,
) -> None:
    task_id = await world.submit()

    async with streaming(world.api, task_id) as stream:
        attempt = world.begin(task_id)
        call = await world.provider.next_call()
        await call.say("Once ")
        begun = await until(stream, "token")
        assert not attempt.done()
        await call.say("upon ", "a ", "time")
        await call.finish()
        rest = await stream.rest()

    assert told(begun + rest) == [
        "queued",
        "processing",
        "run started",
        "leave_note started",
        "leave_note finished",
        "token",
        "run finished",
        "completed",
    ]
    assert text_of(begun) == "Once "
    assert text_of(begun + rest) == "Once upon a time"


async def test_every_live_event_names_its_task_attempt_and_run_and_no_argument(world: TellingWorld) -> None:
    task_id = await world.submit()

    async with streaming(world.api, task_id) as stream:
        world.begin(task_id)
        call = await world.provider.next_call()
        await call.say("Once")
        await call.finish()
        events = await stream.rest()
    (run,) = (await world.api.read(task_id))["agent_runs"]

    named = [event for event in events if event.event != "message"]
    assert {(event.json()["task_id"], event.json()["attempt"]) for event in named} == {(task_id, 1)}
    assert {event.json()["run_id"] for event in named} == {run["run_id"]}
    assert {event.event for event in named} == {event.json()["event"] for event in named}
    assert "top secret" not in "".join(event.data for event in events)
    assert named[-1].json()["model"] == run["model"] is not None
    assert run["first_token_ms"] > 0
    counted = f'llm_first_token_seconds_count{{agent="TellingAgent",model="{run["model"]}"}} 1.0'
    assert counted in world.worker.core.metrics.expose().decode()


async def test_a_client_that_comes_back_in_the_middle_gets_exactly_the_rest(world: TellingWorld) -> None:
    task_id = await world.submit()
    seen: list[ServerSentEvent] = []

    attempt = world.begin(task_id)
    call = await world.provider.next_call()
    for number in range(8):
        async with streaming(world.api, task_id, after=seen[-1].id if seen else "0") as stream:
            await call.say(f"{number} ")
            seen += await until(stream, "token")
    await call.finish()
    await attempt
    async with streaming(world.api, task_id, after=seen[-1].id) as stream:
        seen += await stream.rest()
    async with streaming(world.api, task_id, after="0") as stream:
        everything = await stream.rest()

    assert [(event.id, event.data) for event in seen] == [(event.id, event.data) for event in everything]
    assert text_of(seen) == "0 1 2 3 4 5 6 7 "
    assert len({event.id for event in seen}) == len(seen)


async def test_a_client_resumes_in_the_middle_of_an_answer_at_an_api_that_was_started_meanwhile(
    world: TellingWorld,
) -> None:
    task_id = await world.submit()
    registry = Registry((*BUILT_IN, TELLING))

    attempt = world.begin(task_id)
    call = await world.provider.next_call()
    async with (
        served_api(world.api.settings, registry=registry) as first_api,
        streaming(first_api, task_id, after="0") as stream,
    ):
        await call.say("Once ")
        seen = await until(stream, "token")
    await call.say("upon ")
    async with served_api(world.api.settings, registry=registry) as next_api:
        async with streaming(next_api, task_id, after=seen[-1].id) as stream:
            seen += await until(stream, "token")
            await call.say("a time")
            await call.finish()
            seen += await stream.rest()
        await attempt
        async with streaming(next_api, task_id, after="0") as stream:
            everything = await stream.rest()

    assert text_of(seen) == "Once upon a time"
    assert [event.id for event in seen] == [event.id for event in everything]


async def test_a_client_that_comes_late_gets_the_current_status_and_what_was_said_since(world: TellingWorld) -> None:
    task_id = await world.submit()

    attempt = world.begin(task_id)
    call = await world.provider.next_call()
    await call.say("Once ")
    async with streaming(world.api, task_id) as early:
        await until(early, "token")
    async with streaming(world.api, task_id) as late:
        events = await until(late, "token")
        await call.finish()
        await attempt

    assert told(events)[0] == "processing"
    assert text_of(events) == "Once "


async def test_who_comes_after_the_end_gets_the_final_status_alone(world: TellingWorld) -> None:
    task_id = await world.submit()
    attempt = world.begin(task_id)
    call = await world.provider.next_call()
    await call.say("Once")
    await call.finish()
    await attempt

    async with streaming(world.api, task_id) as stream:
        assert told(await stream.rest()) == ["completed"]


async def test_without_live_events_a_stream_has_the_status_changes_alone(world: TellingWorld) -> None:
    task_id = await world.submit()

    async with streaming(world.api, task_id, live=False) as stream:
        world.begin(task_id)
        call = await world.provider.next_call()
        await call.say("Once")
        await call.finish()
        events = await stream.rest()

    assert [(event.id, event.event) for event in events] == [("1", "message"), ("2", "message"), ("3", "message")]


async def test_an_answer_that_breaks_off_is_followed_by_a_new_attempt_that_says_so(world: TellingWorld) -> None:
    task_id = await world.submit()

    async with streaming(world.api, task_id) as stream:
        attempt = world.begin(task_id)
        call = await world.provider.next_call()
        await call.say("half of ")
        first = await until(stream, "token")
        call.drop()
        await attempt
        call = await world.begin_again(task_id)
        await call.say("the whole")
        await call.finish()
        rest = await stream.rest()

    task = await world.api.read(task_id)
    events = told(first + rest)
    assert events[events.index("queued", 1) :] == [
        "queued",
        "processing",
        "run restarted",
        "run started",
        "leave_note started",
        "leave_note finished",
        "token",
        "run finished",
        "completed",
    ]
    assert text_of(rest) == "the whole" == task["result"]["raw_output"]
    assert {event.json()["attempt"] for event in rest if event.event == "token"} == {2}
    assert task["agent_runs"][0]["error"]["type"] == "LLM_ERROR"


async def test_a_worker_that_lost_its_task_is_not_heard_any_more(world: TellingWorld) -> None:
    task_id = await world.submit()

    async with streaming(world.api, task_id) as stream:
        attempt = world.begin(task_id)
        call = await world.provider.next_call()
        await call.say("from the dead")
        first = await until(stream, "token")
        await world.lose_worker(task_id, attempt)
        world.begin(task_id)
        call = await world.provider.next_call()
        await call.say("alive")
        await call.finish()
        rest = await stream.rest()

    ids = [event.id for event in first + rest]
    assert ids == sorted(ids, key=lambda one: tuple(map(int, f"{one}-0".split("-")[:2])))
    assert told(rest)[-3:] == ["token", "run finished", "completed"]
    assert text_of(rest) == "alive"


async def test_without_redis_there_are_status_changes_and_nothing_waits(
    start_world: StartWorld, redis_url: str
) -> None:
    async with started_telling_world(start_world, redis_url=NO_REDIS, celery_broker_url=redis_url) as world:
        task_id = await world.submit()
        async with streaming(world.api, task_id) as stream:
            attempt = world.begin(task_id)
            call = await world.provider.next_call()
            await call.say("Once ", "upon")
            await call.finish()
            async with asyncio.timeout(5):
                await attempt
            events = await stream.rest()
        task = await world.api.read(task_id)

    assert {event.event for event in events} == {"message"}
    assert told(events)[-1] == "completed"
    assert task["result"]["raw_output"] == "Once upon"


async def test_turned_off_the_model_is_asked_for_its_whole_answer(start_world: StartWorld) -> None:
    async with started_telling_world(start_world, stream_tokens=False) as world:
        task_id = await world.submit()
        attempt = world.begin(task_id)
        call = await world.provider.next_call()
        attempt.cancel()

    assert not call.request.get("stream")


async def test_live_events_of_another_tenant_are_as_little_there_as_its_task(store: Server, redis_url: str) -> None:
    settings = api_settings(**stores_of(store, redis_url), api_keys="key-of-red:red:member,key-of-blue:blue:member")
    async with served_api(settings) as api:
        task_id = await api.submit(headers=RED)

        for after in ("0", "2-1"):
            response = await api.get(f"/v1/tasks/{task_id}/events", headers={**BLUE, "Last-Event-ID": after})
            problem_of(response, 404, "TASK_NOT_FOUND")


async def test_an_article_of_the_content_agent_is_streamed_from_the_simulator(start_world: StartWorld) -> None:
    async with start_world(over_socket=True) as world:
        task_id = await world.api.submit("Write a short article about coffee", agent="ContentAgent")
        async with streaming(world.api, task_id) as stream:
            attempt = asyncio.create_task(world.work(task_id))
            events = await stream.rest()
            task = await attempt

    last_call = max(event.json()["call"] for event in events if event.event == "token")
    text = "".join(
        event.json()["text"] for event in events if event.event == "token" and event.json()["call"] == last_call
    )
    assert task["status"] == "completed"
    assert task["result"]["raw_output"].startswith(text.strip())
    assert told(events)[-1] == "completed"
