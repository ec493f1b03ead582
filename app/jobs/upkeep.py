"""The periodic work of the kernel: one worker process at a time does it; any other takes over when that one dies."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from datetime import timedelta
from typing import Any

import structlog

from app.errors import OrchestratorError
from app.jobs.lock import StoreLock

log = structlog.get_logger(__name__)

Chore = Callable[[], Awaitable[Any]]
SHORTEST_LOCK = timedelta(seconds=3)


def lock_lease(interval: timedelta) -> timedelta:
    """How long the lock of an upkeep that is done every ``interval`` lasts: another process takes over after it."""
    return max(interval * 5, SHORTEST_LOCK)


class Seldom:
    """A chore that need not be done in every round."""

    def __init__(self, chore: Chore, *, every: timedelta, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._chore = chore
        self._every = every.total_seconds()
        self._monotonic = monotonic
        self._due_at = float("-inf")

    async def __call__(self) -> Any:
        """Do it, unless that was not long ago."""
        now = self._monotonic()
        if now < self._due_at:
            return None
        self._due_at = now + self._every
        return await self._chore()


class Upkeep:
    """Does its chores in order, again and again, while this process holds the lock."""

    def __init__(
        self,
        lock: StoreLock,
        chores: Sequence[Chore],
        *,
        stand_in: Chore,
        interval: timedelta,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """``stand_in`` is done while it is another process's turn, by each of the others."""
        self._lock = lock
        self._chores = chores
        self._stand_in = stand_in
        self._interval = interval
        self._monotonic = monotonic
        self._held_until = float("-inf")

    async def run_for_ever(self) -> None:
        pause = self._interval
        while True:
            await asyncio.sleep(pause.total_seconds())
            # Who stands by looks twice as often: a timer whose sweeper died is late by the pause of who stands by.
            pause = self._interval if await self.run_once() else self._interval / 2

    async def run_once(self) -> bool:
        """True when it was this process's turn."""
        try:
            for chore in self._chores:
                # Before each, so that a long chore does not leave the next one to run beside another process's.
                if not await self._holds_lock():
                    await self._stand_in()
                    return False
                await chore()
        except OrchestratorError as error:
            log.warning("upkeep.interrupted", error_type=error.code)
        except Exception:  # a background loop: the next round may go better, and must take place
            log.exception("upkeep.crashed")
        return True

    async def _holds_lock(self) -> bool:
        # The lock outlives several intervals, so that one write is enough for the short chores of a round.
        now = self._monotonic()
        if now >= self._held_until:
            if not await self._lock.acquire():
                return False
            self._held_until = now + self._interval.total_seconds()
        return True

    async def close(self) -> None:
        """Let another process take over at once."""
        try:
            await self._lock.release()
        except OrchestratorError:
            log.debug("upkeep.lock_not_released")
