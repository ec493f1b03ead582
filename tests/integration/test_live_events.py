"""The two ends of live events over a real Valkey, with the pieces between them taken away."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import pytest
from fastapi.sse import ServerSentEvent
from redis.asyncio import Redis

from app.database.documents import Document
from app.events import live, stream
from app.events.live import MOST_KEPT, LiveEvent, LiveLog, LiveTask
from app.events.places import Place
from app.events.publishing import MOST_WAITING, LiveAttempt
from app.events.signals import Signals, connect_redis
from app.events.stream import EventStream
from tests.live_builders import CLAIMED, DONE, LOST, QUEUED, TASK, Step, a_history, a_publisher, a_running_job
from tests.processes import Server, start_valkey

PATIENCE = 10


@pytest.fixture
async def log(redis_url: str) -> AsyncIterator[LiveLog]:
    started = LiveLog(connect_redis(redis_url))
    yield started
    await started.close()


@pytest.fixture
async def redis(redis_url: str) -> AsyncIterator["Redis"]:
    async with Redis.from_url(redis_url) as client:
        yield client


def texts(*pieces: str, seq: int = 2, begin: int = 1) -> dict[LiveTask, list[LiveEvent]]:
    return {
        TASK: [LiveEvent(Place(seq, begin + n), "token", json.dumps({"text": one})) for n, one in enumerate(pieces)]
    }


class Client:
    """Follows the task whose history the test writes."""

    def __init__(self, log: LiveLog | None, *steps: Step) -> None:
        self.signals = Signals(None)
        self.history = a_history(*steps)
        self._log = log

    async def read(self) -> Document:
        return {"history": self.history}

    async def everything(self, last_seen: Place | None) -> list[ServerSentEvent]:
        followed = EventStream(TASK, self.read, self.signals, live=self._log)
        async with asyncio.timeout(PATIENCE):
            return [event async for event in followed.events(last_seen)]


def ids(events: list[ServerSentEvent]) -> list[str | None]:
    return [event.id for event in events]


async def test_what_is_appended_again_is_there_once(log: LiveLog) -> None:
    assert await log.append(texts("a", "b"))
    assert await log.append(texts("a", "b", "c"))

    assert [str(event.place) for event in await log.read(TASK, Place(2))] == ["2-1", "2-2", "2-3"]


async def test_an_attempt_that_was_replaced_can_append_nothing(log: LiveLog) -> None:
    await log.append(texts("new", seq=4))
    await log.append(texts("old", seq=2, begin=9))

    assert [str(event.place) for event in await log.read(TASK, Place(0))] == ["4-1"]


async def test_a_process_that_stood_still_for_longer_than_its_patience_loses_nothing(log: LiveLog) -> None:
    await log.append(texts("before"))
    appending = asyncio.create_task(log.append(texts("meanwhile", begin=2)))
    # Until the question is on its way.
    for _ in range(4):
        await asyncio.sleep(0)
    # The loop is held up, as an import or a busy machine does.
    time.sleep(1.2 * live.PATIENCE.total_seconds())  # noqa: ASYNC251

    assert await appending
    assert await log.append(texts("after", begin=3))
    assert [str(event.place) for event in await log.read(TASK, Place(2))] == ["2-1", "2-2", "2-3"]


async def test_after_its_connections_were_cut_nothing_is_lost(log: LiveLog, redis: "Redis") -> None:
    assert await log.append(texts("before"))
    await redis.client_kill_filter(_type="normal", skipme=True)

    assert await log.append(texts("after", begin=2))
    assert [str(event.place) for event in await log.read(TASK, Place(2))] == ["2-1", "2-2"]


async def test_a_log_is_bounded_and_expires(log: LiveLog, redis: "Redis") -> None:
    for begin in range(1, MOST_KEPT * 2, 1000):
        await log.append(texts(*["x"] * 1000, begin=begin))

    assert MOST_KEPT <= await redis.xlen(TASK.key) < MOST_KEPT * 1.1
    assert 0 < await redis.ttl(TASK.key) <= live.KEPT_FOR.total_seconds()


async def test_tenants_do_not_see_each_others_log(log: LiveLog) -> None:
    await log.append(texts("a"))

    assert await log.read(LiveTask("blue", TASK.task_id), Place(0)) == []


async def test_many_readers_at_once_get_what_each_asked_for(log: LiveLog) -> None:
    await log.append(texts(*"abcdefghij"))

    found = await asyncio.gather(*(log.read(TASK, Place(2, number)) for number in range(10) for _ in range(30)))

    assert [events[0].place.number for events in found] == [number + 1 for number in range(10) for _ in range(30)]


async def test_more_than_one_reading_holds_arrives_complete_before_the_final_status(log: LiveLog) -> None:
    await log.append(texts(*["x"] * 173))

    events = await Client(log, QUEUED, CLAIMED, DONE).everything(Place(0))

    assert ids(events) == ["1", "2", *(f"2-{number}" for number in range(1, 174)), "3"]


@pytest.mark.parametrize("resumed_at", [Place(1), Place(2), Place(2, 1), Place(2, 3), Place(3), Place(4, 2)])
async def test_across_attempts_a_client_resumes_behind_every_event(log: LiveLog, resumed_at: Place) -> None:
    await log.append(texts("a", "b", "c"))
    await log.append(texts("d", "e", seq=4))
    order = ["1", "2", "2-1", "2-2", "2-3", "3", "4", "4-1", "4-2", "5"]

    events = await Client(log, QUEUED, CLAIMED, LOST, CLAIMED, DONE).everything(resumed_at)

    assert ids(events) == order[order.index(str(resumed_at)) + 1 :]


async def test_what_was_lost_is_said_where_it_is_missing(log: LiveLog) -> None:
    await log.append(texts("a"))
    await log.append(texts("d", begin=4))

    events = await Client(log, QUEUED, CLAIMED, DONE).everything(Place(2))

    assert ids(events) == ["2-1", "2-3", "2-4", "3"]
    gap = json.loads(events[1].raw_data or "")
    assert (events[1].event, gap["gap"], gap["text"]) == ("token", True, "")


async def test_a_client_that_resumes_behind_a_gap_is_not_told_of_it_again(log: LiveLog) -> None:
    await log.append(texts("d", begin=4))

    events = await Client(log, QUEUED, CLAIMED, DONE).everything(Place(2, 3))

    assert ids(events) == ["2-4", "3"]


async def test_a_slow_client_is_sent_away_and_goes_on_where_it_was(
    log: LiveLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    await log.append(texts("a", "b", "c"))
    client, seen = Client(log, QUEUED, CLAIMED, DONE), Place(2)
    monkeypatch.setattr(stream, "SLOWEST_CLIENT", -stream.LONGEST_WAIT)

    connections = 0
    arrived: list[str | None] = []
    while arrived[-1:] != ["3"]:
        connections += 1
        arrived += ids(await client.everything(seen))
        seen = Place.read(arrived[-1]) or seen

    assert arrived == ["2-1", "2-2", "2-3", "3"]
    assert connections == 4


async def test_live_events_wake_only_who_asked_for_them(log: LiveLog, redis_url: str) -> None:
    signals = Signals(connect_redis(redis_url))
    signals.start_listening()
    with signals.waiting_for(TASK.task_id, hears_live=True) as eager, signals.waiting_for(TASK.task_id) as other:
        looks = await eager.wait(live.PATIENCE)
        number = 0
        async with asyncio.timeout(PATIENCE):
            while looks:  # until the subscription is there
                number += 1
                await log.append(texts("x", begin=number))
                looks = await eager.wait(live.PATIENCE)
        still_waiting = asyncio.create_task(other.wait(live.PATIENCE))
        await log.append(texts("x", begin=number + 1))
        await eager.wait(live.PATIENCE)

        assert not still_waiting.done()
        assert await still_waiting
    await signals.close()


async def test_pieces_of_one_answer_are_gathered_and_nothing_is_left_behind(log: LiveLog) -> None:
    publisher = a_publisher(log)

    async with publisher.of_attempt(a_running_job()) as attempt:
        run = attempt.begin_run("r", "TellingAgent", "executor")
        answer = run.begin_answer("m")
        for _ in range(1000):
            answer.add("x")
        run.finish("completed", model="m")

    events = await log.read(TASK, Place(2))
    data = [json.loads(event.data) for event in events]
    assert [event.place.number for event in events] == [1, 2, 3]
    assert [one["event"] for one in data] == ["run", "token", "run"]
    assert data[1]["text"] == "x" * 1000
    assert run.first_token_ms is not None


async def test_answers_that_come_at_the_same_time_stay_apart(log: LiveLog) -> None:
    publisher = a_publisher(log)

    async with publisher.of_attempt(a_running_job()) as attempt:
        run = attempt.begin_run("r", "TellingAgent", "executor")
        one, other = run.begin_answer("m"), run.begin_answer("m")
        for _ in range(3):
            one.add("a")
            other.add("b")

    said = {1: "", 2: ""}
    for event in await log.read(TASK, Place(2, 1)):
        data = json.loads(event.data)
        said[data["call"]] += data["text"]
    assert said == {1: "aaa", 2: "bbb"}


async def test_what_does_not_fit_while_redis_is_slow_is_dropped_and_shows_as_a_missing_number(log: LiveLog) -> None:
    publisher = a_publisher(log)

    async with publisher.of_attempt(a_running_job()) as attempt:
        answer = attempt.begin_run("r", "TellingAgent", "executor").begin_answer("m")
        answer.add("x" * (MOST_WAITING // 2))
        answer.add("y" * MOST_WAITING)
        await publisher.flush()
        answer.add("z")

    events = await log.read(TASK, Place(2))
    assert [event.place.number for event in events] == [1, 2, 4]
    assert "y" not in "".join(event.data.removeprefix('{"event":"token"') for event in events[1:])


async def test_a_later_attempt_says_that_it_begins_again(log: LiveLog) -> None:
    async with a_publisher(log).of_attempt(a_running_job(QUEUED, CLAIMED, LOST, CLAIMED)):
        pass

    (event,) = await log.read(TASK, Place(4))
    assert json.loads(event.data)["phase"] == "restarted"


async def test_characters_that_are_no_text_do_not_stop_the_others(log: LiveLog) -> None:
    publisher = a_publisher(log)

    async with publisher.of_attempt(a_running_job()) as attempt:
        answer = attempt.begin_run("r", "TellingAgent", "executor").begin_answer("m")
        answer.add("half a pair \ud83d")
        answer.add(", and on")

    assert ", and on" in (await log.read(TASK, Place(2)))[-1].data


@contextmanager
def a_valkey_of_its_own(folder: Path) -> Iterator[Server]:
    server = start_valkey(folder)
    try:
        yield server
    finally:
        server.process.stop()


@asynccontextmanager
async def logs_at(server: Server) -> AsyncIterator[LiveLog]:
    log = LiveLog(connect_redis(server.redis_url()))
    try:
        yield log
    finally:
        await log.close()


async def speaks(attempt: LiveAttempt, text: str) -> None:
    attempt.begin_run("r", "TellingAgent", "executor").begin_answer("m").add(text)
    async with asyncio.timeout(PATIENCE):
        await attempt.publisher.flush()


@pytest.mark.slow
async def test_a_redis_that_dies_and_comes_back_costs_what_was_said_meanwhile_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live, "AWAY_PAUSE", live.AWAY_PAUSE * 0)
    with a_valkey_of_its_own(tmp_path) as server:
        async with logs_at(server) as log, a_publisher(log).of_attempt(a_running_job()) as attempt:
            await speaks(attempt, "before")
            server.process.kill()
            await speaks(attempt, "meanwhile")
            assert await log.read(TASK, Place(2)) == []
            again = start_valkey(tmp_path, port=server.port)
            await speaks(attempt, "after")
            events = await Client(log, QUEUED, CLAIMED, DONE).everything(Place(2))
            again.process.stop()

    said = [json.loads(event.raw_data or "{}") for event in events if event.event == "token"]
    assert [one.get("gap", False) for one in said] == [True, False]
    assert said[-1]["text"] == "after"


@pytest.mark.slow
async def test_a_redis_that_does_not_answer_holds_nobody_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "PATIENCE", live.PATIENCE / 5)
    with a_valkey_of_its_own(tmp_path) as server:
        async with logs_at(server) as log, a_publisher(log).of_attempt(a_running_job()) as attempt:
            await speaks(attempt, "before")
            async with Redis.from_url(server.redis_url()) as other:
                await other.client_pause(60_000)
            began = asyncio.get_running_loop().time()
            await speaks(attempt, "meanwhile")
            events = await Client(log, QUEUED, CLAIMED, DONE).everything(Place(2))
            took = asyncio.get_running_loop().time() - began

    assert ids(events) == ["3"]
    assert took < 2
