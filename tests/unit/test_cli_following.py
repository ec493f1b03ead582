import json
from collections.abc import Callable
from datetime import timedelta

import httpx
import pytest

from app.cli import following
from app.cli.following import Follower, TaskEvent
from app.cli.server import Server, ServerUnreachable

Handler = Callable[[httpx.Request], httpx.Response]
DOWN = httpx.ConnectError("refused")
DONE = {"task_id": "t", "status": "completed"}


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(following, "_FIRST_PAUSE", 0.001)


def sse(*events: str) -> httpx.Response:
    return httpx.Response(200, text="".join(events), headers={"Content-Type": "text/event-stream"})


def status(value: str, event_id: int) -> str:
    data = json.dumps({"event": "task.status", "task_id": "t", "status": value})
    return f"id: {event_id}\ndata: {data}\n\n"


def named(name: str, event_id: int) -> str:
    return f"event: {name}\nid: {event_id}\ndata: {{}}\n\n"


class Script:
    """A server that gives its answers to the stream one after the other; the last one stays."""

    def __init__(self, *streams: httpx.Response | Exception, task: dict[str, str] | None = None) -> None:
        self.streams = list(streams)
        self.task = task or DONE
        self.resumed_after: list[str | None] = []
        self.seen: list[str] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        if not request.url.path.endswith("/events"):
            return httpx.Response(200, json=self.task)
        self.resumed_after.append(request.headers.get("Last-Event-ID"))
        answer = self.streams.pop(0) if len(self.streams) > 1 else self.streams[0]
        if isinstance(answer, Exception):
            raise answer
        return answer

    def watch(self, event: TaskEvent) -> None:
        self.seen.append(event.status or event.kind)


async def follow(handler: Handler, watch: Callable[[TaskEvent], None], *, patience: float = 60) -> dict[str, object]:
    async with Server("http://127.0.0.1:1", transport=httpx.MockTransport(handler)) as server:
        return await Follower(server, "tasks", "t", patience=timedelta(seconds=patience)).follow(watch)


async def test_every_event_is_seen_and_the_final_task_returned() -> None:
    script = Script(sse(status("queued", 1), ": hello\n\n", named("token", 2), status("completed", 3)))

    assert await follow(script, script.watch) == DONE

    assert script.seen == ["queued", "token", "completed"]


@pytest.mark.parametrize("live", [True, False])
async def test_live_events_are_left_out_where_nobody_watches(live: bool) -> None:
    asked: list[str | None] = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(request.url.params.get("live"))
        return sse(status("completed", 1)) if request.url.path.endswith("/events") else httpx.Response(200, json=DONE)

    async with Server("http://127.0.0.1:1", transport=httpx.MockTransport(answer)) as server:
        await Follower(server, "tasks", "t", live=live).follow(lambda event: None)

    assert asked[0] == (None if live else "false")


@pytest.mark.parametrize("end", ["failed", "cancelled", "awaiting_approval"])
async def test_following_ends_where_nothing_more_will_happen_by_itself(end: str) -> None:
    script = Script(sse(status(end, 1)), task={"status": end})

    assert await follow(script, script.watch) == {"status": end}


async def test_a_broken_stream_is_resumed_after_the_last_event() -> None:
    script = Script(
        sse(status("queued", 1)),
        httpx.ConnectError("restarting"),
        sse(status("processing", 2), status("completed", 3)),
        task={"status": "processing"},
    )

    await follow(script, script.watch)

    assert script.resumed_after == [None, "1", "1"]
    assert script.seen == ["queued", "processing", "completed"]


async def test_a_task_that_ended_while_the_stream_was_broken_is_noticed() -> None:
    script = Script(sse(status("queued", 1)))

    assert await follow(script, script.watch) == DONE


async def test_a_server_without_a_stream_is_polled() -> None:
    script = Script(httpx.Response(200, text="hello", headers={"Content-Type": "text/html"}))

    assert await follow(script, script.watch) == DONE

    assert script.seen == ["completed"]


async def test_a_server_that_stays_away_is_given_up() -> None:
    def away(request: httpx.Request) -> httpx.Response:
        raise DOWN

    with pytest.raises(ServerUnreachable):
        await follow(away, Script(DOWN).watch, patience=0.0)


async def test_nonsense_in_the_stream_is_passed_over() -> None:
    script = Script(sse("data: [1]\n\n", "data: {\n\n", status("completed", 1)))

    await follow(script, script.watch)

    assert script.seen == ["completed"]
