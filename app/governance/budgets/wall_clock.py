"""Limits the time that an attempt takes: reserved slice by slice, as model calls are reserved one by one."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import TypeVar

import structlog

from app.errors import ExecutionError, OrchestratorError

log = structlog.get_logger(__name__)

T = TypeVar("T")
# Shared budgets of time can be overshot by one of them.
SLICE = timedelta(seconds=10)
# Before another try when the store did not answer; work that it keeps from being saved ends by itself.
PAUSE = 1.0


class WallClock:
    """Ends the work as soon as no time is left. For one attempt, on its event loop."""

    def __init__(
        self,
        begin_slice: Callable[[], Awaitable[timedelta | None]],
        end_slice: Callable[[timedelta], Awaitable[None]],
    ) -> None:
        """``begin_slice`` reserves time and tells how much, None without a limit; it raises when there is none left.

        ``end_slice`` settles what was reserved by the time that it took.
        """
        self._begin_slice = begin_slice
        self._end_slice = end_slice
        self._began_at = 0.0
        self._length: float | None = None
        self._refused: ExecutionError | None = None
        self._allowed: asyncio.Timeout | None = None
        self._watcher: asyncio.Task[None] | None = None
        self._switching = asyncio.Lock()
        self._switched = asyncio.Event()

    async def run(self, work: Callable[[], Awaitable[T]]) -> T:
        """The work's result or error; raises what `begin_slice` raised when the time is used up."""
        await self.next_slice()
        try:
            async with asyncio.timeout(None) as self._allowed:
                self._watch_if_limited()
                try:
                    return await work()
                finally:
                    if self._watcher is not None:
                        self._watcher.cancel()
        except TimeoutError as error:
            if self._refused is None or self._allowed is None or not self._allowed.expired():
                raise
            raise self._refused from error
        finally:
            await self._settle()

    async def next_slice(self) -> None:
        """Settle the present slice and begin another, as when somebody else works from now on."""
        async with self._switching:
            await self._settle()
            length = await self._begin_slice()
            self._began_at, self._length = _now(), None if length is None else length.total_seconds()
            self._switched.set()
            self._watch_if_limited()

    def _watch_if_limited(self) -> None:
        # Most work has all the time it wants, and costs no watcher.
        if self._length is not None and self._allowed is not None and self._watcher is None:
            self._watcher = asyncio.create_task(self._watch(self._allowed), name="wall-clock")

    async def _watch(self, allowed: asyncio.Timeout) -> None:
        while True:
            await self._slice_over()
            try:
                await self.next_slice()
            except ExecutionError as error:
                self._refused = error
                allowed.reschedule(_now())
                return
            except OrchestratorError as error:
                log.warning("budget.time_not_reserved", error_type=error.code)
                await asyncio.sleep(PAUSE)

    async def _slice_over(self) -> None:
        while True:
            self._switched.clear()
            left = None if self._length is None else self._began_at + self._length - _now()
            if left is not None and left <= 0:
                return
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(left):
                    await self._switched.wait()

    async def _settle(self) -> None:
        if self._length is not None:
            # It stays over until another one begins.
            self._length = 0.0
            await self._end_slice(timedelta(seconds=_now() - self._began_at))


def _now() -> float:
    return asyncio.get_running_loop().time()
