"""Waiting that costs one timer and one task, and ends early when the client or the server goes."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from starlette.requests import Request


class WaitingRoom:
    def __init__(self) -> None:
        self._watchers: set[asyncio.Task[None]] = set()

    def __len__(self) -> int:
        return len(self._watchers)

    async def wait(self, request: Request, seconds: float) -> bool:
        """True when the whole time passed; False when the client hung up or the server stops."""
        async with self.watching(request) as departure:
            return await passes(seconds, departure)

    @asynccontextmanager
    async def watching(self, request: Request) -> AsyncIterator[asyncio.Task[None]]:
        """What is done as soon as the client hangs up or the server stops."""
        watcher = asyncio.create_task(_hang_up(request))
        self._watchers.add(watcher)
        try:
            yield watcher
        finally:
            self._watchers.discard(watcher)
            watcher.cancel()

    def empty(self) -> None:
        """Send everybody home: the server stops."""
        for watcher in self._watchers:
            watcher.cancel()


async def passes(seconds: float, departure: asyncio.Task[None]) -> bool:
    """Whether so much time passed before the departure."""
    done, _ = await asyncio.wait({departure}, timeout=seconds)
    return not done


async def _hang_up(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
