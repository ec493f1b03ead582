"""What providers allow in a minute: counted by all workers in Redis, in the process while Redis is away."""

from dataclasses import dataclass
from datetime import timedelta
from typing import Protocol

from limits import RateLimitItemPerMinute
from limits.aio.strategies import SlidingWindowCounterRateLimiter
from limits.storage import MemoryStorage
from limits.strategies import SlidingWindowCounterRateLimiter as LocalRateLimiter
from redis.asyncio import Redis

from app.impatient_redis import impatient_pool, limits_storage

MINUTE = timedelta(minutes=1)
_SECONDS = MINUTE.total_seconds()
_PREFIX = "llm"


@dataclass(frozen=True, slots=True)
class Window:
    """A sliding window's two counters; the ages are seconds until each has left the window."""

    previous: int
    previous_left: float
    current: int
    current_left: float

    def wait_for(self, cost: int, limit: int) -> timedelta:
        """Until there is room for ``cost`` if nobody else takes it. The previous minute fades while this one counts."""
        free = limit - cost
        if self.current <= free:
            # What of the previous minute may still count, times its length, is the time it may have left.
            left = (free - self.current) * _SECONDS / self.previous if self.previous else _SECONDS
            return timedelta(seconds=max(self.previous_left - left, 0.0))
        # This minute has to become the previous one, and then to fade.
        begins = max(self.current_left - _SECONDS, 0.0)
        return timedelta(seconds=begins + _SECONDS * (1 - free / self.current))


class Windows(Protocol):
    """Counts per key, each with its own limit."""

    async def take(self, key: str, cost: int, limit: int) -> bool:
        """Whether there was room; a negative cost gives back."""
        ...

    async def read(self, key: str, limit: int) -> Window: ...


class SharedWindows:
    """In Redis. Raises what its client raises."""

    def __init__(self, redis_url: str) -> None:
        self._pool = impatient_pool(redis_url)
        self._redis = Redis(connection_pool=self._pool)
        self._storage = limits_storage(redis_url, self._pool, prefix=_PREFIX)
        self._limiter = SlidingWindowCounterRateLimiter(self._storage)

    async def take(self, key: str, cost: int, limit: int) -> bool:
        return await self._limiter.hit(_item(limit), key, cost=cost)

    async def read(self, key: str, limit: int) -> Window:
        item = _item(limit)
        return Window(*await self._storage.get_sliding_window(item.key_for(key), item.get_expiry()))

    async def pause(self, key: str, length: timedelta) -> None:
        """Nobody is to ask for so long, or for longer if somebody said so before."""
        if length > await self.pause_left(key):
            await self._redis.set(_pause(key), 1, px=length)

    async def pause_left(self, key: str) -> timedelta:
        milliseconds: int = await self._redis.pttl(_pause(key))
        return timedelta(milliseconds=max(milliseconds, 0))

    async def close(self) -> None:
        await self._pool.disconnect()


class LocalWindows:
    """In this process's memory."""

    def __init__(self) -> None:
        self._storage = MemoryStorage()
        self._limiter = LocalRateLimiter(self._storage)

    async def take(self, key: str, cost: int, limit: int) -> bool:
        return self._limiter.hit(_item(limit), key, cost=cost)

    async def read(self, key: str, limit: int) -> Window:
        item = _item(limit)
        return Window(*self._storage.get_sliding_window(item.key_for(key), item.get_expiry()))


def _item(limit: int) -> RateLimitItemPerMinute:
    return RateLimitItemPerMinute(limit)


def _pause(key: str) -> str:
    return f"{_PREFIX}:pause:{key}"
