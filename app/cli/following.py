"""Follows a task to its end over the event stream: every event once, across broken connections and restarts."""

import asyncio
import json
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from dataclasses import dataclass
from datetime import timedelta

import httpx

from app.cli.server import Json, NoEventStream, Server, ServerBusy, ServerUnreachable

ENDS = frozenset({"completed", "failed", "cancelled", "awaiting_approval"})
_WAIT_SECONDS = 20
_FIRST_PAUSE, _LONGEST_PAUSE = 0.2, 3.0


@dataclass(frozen=True, slots=True)
class TaskEvent:
    """`kind` is `message` for a status change, else the event's name."""

    kind: str
    data: Json

    @property
    def status(self) -> str | None:
        status = self.data.get("status")
        return status if self.kind == "message" and isinstance(status, str) else None


Watch = Callable[[TaskEvent], None]


class Follower:
    """Gives up with `ServerUnreachable` when the server has not answered for the whole of `patience`.

    Without `live` only status changes are asked for.
    """

    def __init__(
        self,
        server: Server,
        *path: str,
        live: bool = True,
        after: str = "",
        patience: timedelta = timedelta(seconds=60),
    ) -> None:
        """``path`` leads to the task, by its segments; ``after`` is the id of the event to begin behind."""
        self._server = server
        self._path = path
        self._live = live
        self._patience = patience.total_seconds()
        self._last_id = after
        self._pause = _FIRST_PAUSE
        self._heard_at = 0.0

    async def follow(self, watch: Watch) -> Json:
        """The whole task once it has ended or waits for an approval."""
        self._hear()
        try:
            while not await self._streamed(watch):
                task = await self._current()
                if task is not None and task.get("status") in ENDS:
                    return task
                await self._rest()
        except NoEventStream:
            return await self._poll(watch)
        return await self._final()

    async def _streamed(self, watch: Watch) -> bool:
        """Whether the stream came to an end of the task; False when it broke off before."""
        try:
            async with aclosing(self._events()) as events:
                async for event in events:
                    watch(event)
                    if event.status in ENDS:
                        return True
        except (httpx.TransportError, ServerBusy):
            return False
        return False

    async def _events(self) -> AsyncGenerator[TaskEvent, None]:
        async with aclosing(self._server.events(*self._path, after=self._last_id, live=self._live)) as stream:
            async for event in stream:
                self._hear()
                self._last_id = event.id or self._last_id
                data = _parsed(event.data)
                if data is not None:
                    yield TaskEvent(event.event, data)

    async def _current(self, *, wait: int = 0) -> Json | None:
        """The task as it is now, or None while the server is away; raises when it has been away for too long."""
        try:
            task = await self._server.get(*self._path, wait=wait or None)
        except (ServerUnreachable, ServerBusy):
            if asyncio.get_running_loop().time() - self._heard_at > self._patience:
                raise
            return None
        self._hear()
        return task

    async def _final(self) -> Json:
        while True:
            task = await self._current()
            if task is not None:
                return task
            await self._rest()

    async def _poll(self, watch: Watch) -> Json:
        known = None
        while True:
            task = await self._current(wait=_WAIT_SECONDS if known else 0)
            if task is None:
                await self._rest()
                continue
            if task.get("status") != known:
                known = task.get("status")
                watch(TaskEvent("message", {"event": "task.status", "status": known}))
            if known in ENDS:
                return task

    def _hear(self) -> None:
        self._heard_at = asyncio.get_running_loop().time()
        self._pause = _FIRST_PAUSE

    async def _rest(self) -> None:
        await asyncio.sleep(self._pause)
        self._pause = min(self._pause * 2, _LONGEST_PAUSE)


def _parsed(text: str) -> Json | None:
    try:
        data = json.loads(text)
    except ValueError:
        return None
    return data if isinstance(data, dict) else None
