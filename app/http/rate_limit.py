"""So many requests per minute and caller: shared by all processes through Redis, per process while Redis is away."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta

from limits import RateLimitItemPerMinute, WindowStats
from limits.aio.strategies import SlidingWindowCounterRateLimiter
from limits.storage import MemoryStorage
from limits.strategies import SlidingWindowCounterRateLimiter as LocalRateLimiter
from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.errors import RateLimited
from app.http.client_address import ClientAddresses
from app.http.problems import error_response
from app.impatient_redis import RedisGuard, impatient_pool, limits_storage

# Where authentication leaves the id of the key in ``scope["state"]``.
CALLER = "caller"
WINDOW_SECONDS = 60


@dataclass(frozen=True, slots=True)
class Verdict:
    """``retry_after`` (seconds) is 0 when the request is allowed."""

    is_allowed: bool
    retry_after: float = 0.0


_ALLOWED = Verdict(True)


def _refused(window: WindowStats) -> Verdict:
    return Verdict(False, max(0.0, window.reset_time - time.time()))


class LocalWindow:
    """The sliding window in this process's memory, for while Redis is away or not there at all."""

    def __init__(self, *, per_minute: int) -> None:
        self._item = RateLimitItemPerMinute(per_minute)
        self._limiter = LocalRateLimiter(MemoryStorage())

    def hit(self, key: str) -> Verdict:
        if self._limiter.hit(self._item, key):
            return _ALLOWED
        return _refused(self._limiter.get_window_stats(self._item, key))


class SharedWindow:
    """The sliding window in Redis: one round trip for an allowed request, two for a refused one."""

    def __init__(self, redis_url: str, *, per_minute: int) -> None:
        self._item = RateLimitItemPerMinute(per_minute)
        self._pool = impatient_pool(redis_url)
        self._limiter = SlidingWindowCounterRateLimiter(limits_storage(redis_url, self._pool, prefix="rate"))

    async def hit(self, key: str) -> Verdict:
        if await self._limiter.hit(self._item, key):
            return _ALLOWED
        return _refused(await self._limiter.get_window_stats(self._item, key))

    async def close(self) -> None:
        await self._pool.disconnect()


class RateLimiter:
    """Counts hits per key. Never raises and never waits long for Redis (`app.impatient_redis`)."""

    def __init__(
        self,
        *,
        per_minute: int,
        redis_url: str | None = None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """``per_minute`` 0 allows everything."""
        self.per_minute = per_minute
        self._shared = SharedWindow(redis_url, per_minute=per_minute) if redis_url and per_minute else None
        self._local = LocalWindow(per_minute=per_minute)
        self._redis = RedisGuard("rate_limit", monotonic=monotonic)

    async def hit(self, key: str) -> Verdict:
        if not self.per_minute:
            return _ALLOWED
        shared = self._shared
        verdict = await self._redis.ask(lambda: shared.hit(key)) if shared else None
        return verdict or self._local.hit(key)

    async def close(self) -> None:
        if self._shared:
            await self._shared.close()


class RateLimit:
    """Middleware for ``/v1/``: counts by API key, else by client address; refuses with 429."""

    def __init__(self, app: ASGIApp, *, limiter: RateLimiter, addresses: ClientAddresses) -> None:
        self._app = app
        self._limiter = limiter
        self._addresses = addresses
        self._policy = _policy(limiter.per_minute)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or not self._limiter.per_minute or not scope["path"].startswith("/v1/"):
            await self._app(scope, receive, send)
            return
        caller = scope.get("state", {}).get(CALLER)
        verdict = await self._limiter.hit(f"key:{caller}" if caller else f"ip:{self._addresses.of(scope)}")
        answer = self._app if verdict.is_allowed else error_response(scope, _refusal(verdict, self._limiter.per_minute))
        await answer(scope, receive, self._announcing(send, verdict))

    def _announcing(self, send: Send, verdict: Verdict) -> Send:
        async def announce(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers["RateLimit-Policy"] = self._policy
                if not verdict.is_allowed:
                    headers["RateLimit"] = f'"default";r=0;t={_seconds(verdict)}'
            await send(message)

        return announce


class FailedAttempts:
    """Raises `RateLimited` for an address that presented too many wrong keys.

    Right keys are let in all the same: an address may stand for a whole office, or for a proxy nobody configured,
    and one broken client must not lock out the others. Keys are too long to be guessed at this pace.
    """

    def __init__(self, limiter: RateLimiter, addresses: ClientAddresses) -> None:
        self._limiter = limiter
        self._addresses = addresses

    async def __call__(self, scope: Scope) -> None:
        verdict = await self._limiter.hit(f"failed:{self._addresses.of(scope)}")
        if not verdict.is_allowed:
            raise _refusal(verdict, self._limiter.per_minute)


def _refusal(verdict: Verdict, per_minute: int) -> RateLimited:
    seconds = _seconds(verdict)
    return RateLimited(
        f"more than {per_minute} requests in a minute; try again in {seconds} s", retry_after=timedelta(seconds=seconds)
    )


def _seconds(verdict: Verdict) -> int:
    # The next whole second, not the same one: at that very moment the window is still full.
    return int(verdict.retry_after) + 1


def _policy(per_minute: int) -> str:
    return f'"default";q={per_minute};w={WINDOW_SECONDS}'
