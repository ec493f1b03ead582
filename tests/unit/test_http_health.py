import asyncio

import httpx
from fastapi import FastAPI
from structlog.testing import capture_logs

from app.http.health import CACHED_FOR, HealthCheck, Probe, health_router


class Time:
    now = 100.0

    def __call__(self) -> float:
        return self.now


class Store:
    """A dependency that can be turned off, and counts how often it was asked."""

    def __init__(self) -> None:
        self.is_up = True
        self.asked = 0

    async def probe(self) -> None:
        self.asked += 1
        await asyncio.sleep(0)
        if not self.is_up:
            raise ConnectionError("refused")


async def hang() -> None:
    await asyncio.Event().wait()


async def ask(path: str, check: HealthCheck) -> httpx.Response:
    app = FastAPI()
    app.include_router(health_router(check, environment="local"))
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test") as client:
        return await client.get(path)


async def test_when_all_answer_the_line_begins_with_ok() -> None:
    answer = await ask("/health", HealthCheck({"mongo": Store().probe, "redis": Store().probe}))

    assert (answer.status_code, answer.text) == (200, "ok | mongo=up | redis=up | env=local")
    assert answer.headers["content-type"].startswith("text/plain")


async def test_when_one_is_down_the_line_and_the_status_say_so() -> None:
    store = Store()
    store.is_up = False

    answer = await ask("/health", HealthCheck({"mongo": store.probe, "redis": Store().probe}))

    assert (answer.status_code, answer.text) == (503, "degraded | mongo=down | redis=up | env=local")


async def test_readiness_is_json_and_follows_the_dependencies() -> None:
    store, time = Store(), Time()
    check = HealthCheck({"mongo": store.probe}, monotonic=time)
    ready = await ask("/health/ready", check)
    store.is_up, time.now = False, time.now + CACHED_FOR
    unready = await ask("/health/ready", check)

    assert (ready.status_code, ready.json()) == (200, {"status": "ready", "checks": {"mongo": "up"}})
    assert (unready.status_code, unready.json()) == (503, {"status": "unavailable", "checks": {"mongo": "down"}})


async def test_liveness_asks_nobody() -> None:
    store = Store()
    store.is_up = False

    answer = await ask("/health/live", HealthCheck({"mongo": store.probe}))

    assert (answer.status_code, answer.json()) == (200, {"status": "alive"})
    assert store.asked == 0


async def test_a_storm_of_probes_costs_one_question_a_second() -> None:
    store, time = Store(), Time()
    check = HealthCheck({"mongo": store.probe}, monotonic=time)

    await asyncio.gather(*(check.check() for _ in range(100)))
    assert store.asked == 1
    time.now += CACHED_FOR
    await asyncio.gather(*(check.check() for _ in range(100)))

    assert store.asked == 2


async def test_probes_that_hang_are_down_after_the_timeout_all_at_once() -> None:
    probes: dict[str, Probe] = {f"p{n}": hang for n in range(5)}
    check = HealthCheck({**probes, "mongo": Store().probe}, timeout=0.02)
    loop = asyncio.get_running_loop()

    began = loop.time()
    state = await check.check()

    assert loop.time() - began < 1.0
    assert [name for name, is_up in state.items() if is_up] == ["mongo"]


async def test_the_first_prober_leaving_does_not_disturb_the_next() -> None:
    store = Store()
    check = HealthCheck({"mongo": store.probe})
    leaving = asyncio.create_task(check.check())
    await asyncio.sleep(0)
    leaving.cancel()

    assert await check.check() == {"mongo": True}


async def test_going_down_is_told_once() -> None:
    store, time = Store(), Time()
    check = HealthCheck({"mongo": store.probe}, monotonic=time)
    store.is_up = False

    with capture_logs() as logs:
        for _ in range(3):
            await check.check()
            time.now += CACHED_FOR

    assert [(line["event"], line["dependency"]) for line in logs] == [("health.down", "mongo")]
