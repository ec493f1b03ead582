"""Redis for what can do without it: nobody waits long, and while it is away it is asked only now and then."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

from limits.aio.storage import RedisStorage
from limits.errors import StorageError
from redis.asyncio import BlockingConnectionPool
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from app.observability.logging import get_logger

REDIS_TIMEOUT = 0.15
REDIS_PAUSE = 2.0
MAX_CONNECTIONS = 32

T = TypeVar("T")
log = get_logger(__name__)


def impatient_pool(redis_url: str) -> BlockingConnectionPool:
    return BlockingConnectionPool.from_url(
        redis_url,
        max_connections=MAX_CONNECTIONS,
        timeout=REDIS_TIMEOUT,
        socket_timeout=REDIS_TIMEOUT,
        socket_connect_timeout=REDIS_TIMEOUT,
        # The client's own retries take longer than a request may wait.
        retry=Retry(NoBackoff(), 0),
    )


def limits_storage(redis_url: str, pool: BlockingConnectionPool, *, prefix: str) -> RedisStorage:
    return RedisStorage(
        f"async+{redis_url}",
        wrap_exceptions=True,
        implementation="redispy",
        key_prefix=prefix,
        connection_pool=pool,  # type: ignore[arg-type]
    )


class RedisGuard:
    """Asks Redis for at most `REDIS_TIMEOUT`, and after a failure not before `REDIS_PAUSE`, one caller at a time."""

    def __init__(self, name: str, *, monotonic: Callable[[], float] = time.monotonic) -> None:
        """``name`` begins the events in the log."""
        self._lost_event, self._back_event = f"{name}.redis_lost", f"{name}.redis_back"
        self._monotonic = monotonic
        self._asked_from = 0.0
        self._answers = True

    async def ask(self, question: Callable[[], Awaitable[T]]) -> T | None:
        """None while Redis does not answer."""
        now = self._monotonic()
        if now < self._asked_from:
            return None
        if not self._answers:
            self._asked_from = now + REDIS_PAUSE
        try:
            async with asyncio.timeout(REDIS_TIMEOUT):
                answer = await question()
        except (StorageError, RedisError, OSError, TimeoutError) as error:
            self._lost(error)
            return None
        self._found()
        return answer

    def _lost(self, error: Exception) -> None:
        if self._answers:
            log.warning(self._lost_event, error=error.__cause__ or error)
        self._answers = False
        self._asked_from = self._monotonic() + REDIS_PAUSE

    def _found(self) -> None:
        if not self._answers:
            log.info(self._back_event)
        self._answers = True
        self._asked_from = 0.0
