"""The store or the broker is down, hangs, or comes back: processes of their own, stopped for real."""

import asyncio
import signal
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path

import httpx
import pytest

from tests.api.harness import Api, api_settings, problem_of, running_api, somebody_waits_for, upkeep_of
from tests.processes import Server, start_store, start_valkey

pytestmark = pytest.mark.slow


@pytest.fixture
def own_store(tmp_path: Path) -> Iterator[Server]:
    server = start_store(tmp_path)
    yield server
    server.process.signal(signal.SIGCONT)
    server.process.stop()


@pytest.fixture
def own_valkey(tmp_path: Path) -> Iterator[Server]:
    server = start_valkey(tmp_path)
    yield server
    server.process.signal(signal.SIGCONT)
    server.process.stop()


@pytest.fixture
async def api(own_store: Server, own_valkey: Server) -> AsyncIterator[Api]:
    settings = api_settings(
        own_store.mongo_uri, own_valkey.redis_url(), mongo_timeout_sec=1, api_rate_limit_per_minute=10_000
    )
    async with running_api(settings) as started:
        yield started


async def soon(look: Callable[[], Awaitable[bool]], what: str) -> None:
    ends_at = time.monotonic() + 10
    while not await look():
        assert time.monotonic() < ends_at, f"not in time: {what}"
        await asyncio.sleep(0.05)


async def queue_length(api: Api) -> int | None:
    return await api.core.doorbell.measure_depth()


def unavailable(response: httpx.Response) -> None:
    problem_of(response, 503, "SERVICE_UNAVAILABLE")
    assert int(response.headers["retry-after"]) >= 1


async def test_while_the_store_is_down_every_route_that_needs_it_says_when_to_try_again(
    api: Api, own_store: Server
) -> None:
    task_id = await api.submit()
    own_store.process.kill()

    answers = await asyncio.gather(
        api.execute(),
        api.execute(headers={"Idempotency-Key": "k"}),
        api.execute(headers={"Prefer": "wait=5"}),
        api.get("/v1/tasks"),
        api.get(f"/v1/tasks/{task_id}"),
        api.get(f"/v1/tasks/{task_id}", params={"wait": 5}),
        api.get(f"/v1/tasks/{task_id}/why"),
        api.get(f"/v1/tasks/{task_id}/events"),
        api.post(f"/v1/tasks/{task_id}/events/token"),
        api.post(f"/v1/tasks/{task_id}/cancel"),
        api.post(f"/v1/tasks/{task_id}/retry"),
        api.get("/v1/system/metrics"),
    )

    for answer in answers:
        unavailable(answer)


async def test_while_the_store_hangs_answers_come_within_the_timeout(api: Api, own_store: Server) -> None:
    own_store.process.signal(signal.SIGSTOP)

    began = time.monotonic()
    answers = await asyncio.gather(api.execute(), api.get("/v1/tasks"), api.get("/v1/system/metrics"))

    assert time.monotonic() - began < 5
    for answer in answers:
        unavailable(answer)


async def test_health_tells_which_dependency_is_down(api: Api, own_store: Server) -> None:
    own_store.process.kill()

    health, ready, live = await api.get("/health"), await api.get("/health/ready"), await api.get("/health/live")

    assert (health.status_code, ready.status_code, live.status_code) == (503, 503, 200)
    assert "mongo=down" in health.text
    assert "redis=up" in health.text
    assert not health.text.startswith("ok")
    assert ready.json()["checks"] == {"mongo": "down", "redis": "up"}


async def test_counters_can_be_scraped_while_the_store_is_down(api: Api, own_store: Server) -> None:
    own_store.process.kill()

    assert (await api.get("/metrics")).status_code == 200


async def test_the_api_serves_again_once_the_store_is_back(api: Api, own_store: Server, tmp_path: Path) -> None:
    task_id = await api.submit()
    own_store.process.kill()
    unavailable(await api.get(f"/v1/tasks/{task_id}"))

    back = start_store(tmp_path, port=own_store.port)
    try:
        await soon(lambda: _is_found(api, task_id), "the task is found again")
    finally:
        back.process.stop()


async def _is_found(api: Api, task_id: str) -> bool:
    return (await api.get(f"/v1/tasks/{task_id}")).status_code == 200


@pytest.mark.long
async def test_requests_during_a_restart_of_the_store_are_done_or_told_to_try_again(
    own_store: Server, own_valkey: Server, tmp_path: Path
) -> None:
    codes: set[int] = set()
    server = own_store
    settings = api_settings(own_store.mongo_uri, own_valkey.redis_url(), mongo_timeout_sec=3)
    async with running_api(settings) as api:
        for _ in range(4):
            server.process.kill()
            asked = [asyncio.create_task(api.execute()) for _ in range(20)]
            server = await asyncio.to_thread(start_store, tmp_path, port=own_store.port)
            codes |= {answer.status_code for answer in await asyncio.gather(*asked)}
    server.process.stop()

    assert codes <= {202, 503}


async def test_the_api_starts_without_a_store_and_serves_once_there_is_one(own_valkey: Server, tmp_path: Path) -> None:
    store = start_store(tmp_path)
    store.process.stop()
    settings = api_settings(store.mongo_uri, own_valkey.redis_url(), mongo_timeout_sec=1)

    async with running_api(settings, store_is_up=False) as api:
        unavailable(await api.execute())
        assert (await api.get("/health/live")).status_code == 200
        back = start_store(tmp_path, port=store.port)
        try:
            async with asyncio.timeout(15):
                await api.app.state.core.prepared.wait()
            assert (await api.execute()).status_code == 202
        finally:
            back.process.stop()


async def test_while_the_broker_is_down_tasks_are_accepted_and_stay_queued(api: Api, own_valkey: Server) -> None:
    own_valkey.process.kill()

    began = time.monotonic()
    task_ids = [await api.submit() for _ in range(5)]

    assert time.monotonic() - began < 5
    for task_id in task_ids:
        assert (await api.read(task_id))["status"] == "queued"
    assert (await api.get("/health")).text == "degraded | mongo=up | redis=down | env=local"
    assert (await api.get("/v1/system/metrics")).json()["queue_length"] is None
    assert (await api.get(f"/v1/tasks/{task_ids[0]}/why")).status_code == 200


async def test_while_the_broker_hangs_nobody_waits_for_it(api: Api, own_valkey: Server) -> None:
    await api.submit()
    own_valkey.process.signal(signal.SIGSTOP)

    began = time.monotonic()
    answers = [await api.execute() for _ in range(5)]

    assert [answer.status_code for answer in answers] == [202] * 5
    assert time.monotonic() - began < 3


async def test_what_could_not_be_rung_is_rung_once_the_broker_is_back(
    api: Api, own_valkey: Server, tmp_path: Path
) -> None:
    own_valkey.process.kill()
    for _ in range(3):
        await api.submit()

    back = start_valkey(tmp_path, port=own_valkey.port)
    try:
        await soon(lambda: _has_length(api, 3), "three messages wait in the queue")
    finally:
        back.process.stop()


async def _has_length(api: Api, length: int) -> bool:
    return await queue_length(api) == length


async def test_the_sweep_rings_for_what_the_broker_lost(api: Api, own_valkey: Server, tmp_path: Path) -> None:
    # given a task whose message is lost with the broker, long enough ago
    task_id = await api.submit()
    await soon(lambda: _has_length(api, 1), "the message waits")
    own_valkey.process.kill()
    back = start_valkey(tmp_path, port=own_valkey.port)
    assert await queue_length(api) == 0
    await api.core.tasks.update_one({"_id": task_id}, {"$set": {"next_dispatch_at": api.core.clock()}})

    async with upkeep_of(api.settings) as upkeep:
        await upkeep.run_once()
        await soon(lambda: _has_length(api, 1), "the message waits again")
    back.process.stop()

    assert (await api.core.store.get(task_id)).dispatches == 2


async def test_without_redis_each_process_still_limits_by_itself(own_store: Server, own_valkey: Server) -> None:
    own_valkey.process.kill()
    settings = api_settings(own_store.mongo_uri, own_valkey.redis_url(), api_rate_limit_per_minute=3)

    async with running_api(settings) as api:
        answers = [await api.get("/v1/tasks") for _ in range(5)]

    assert [answer.status_code for answer in answers] == [200] * 3 + [429] * 2


async def test_a_long_poll_survives_the_loss_of_the_broker(api: Api, own_valkey: Server) -> None:
    task_id = await api.submit()
    waiting = asyncio.create_task(api.read(task_id, params={"wait": 20}))
    await somebody_waits_for(api, task_id)
    own_valkey.process.kill()

    job = await api.core.store.claim(task_id, worker="elsewhere")
    async with asyncio.timeout(10):
        task = await waiting

    assert job is not None
    assert task["status"] == "processing"
