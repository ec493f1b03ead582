"""A task's events for one client: its history and, between the changes, what happens live; resumable at every event.

The history is in the store and complete. Live events may be lost; a gap in them is said. They are read only as fast as
the client takes them, so that a slow one costs no memory.
"""

import asyncio
import json
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import aclosing
from datetime import timedelta
from typing import Any, TypeVar

from fastapi.sse import ServerSentEvent

from app.clock import to_iso
from app.database.documents import Document
from app.errors import Unavailable
from app.events.live import LiveLog, LiveTask
from app.events.places import Place
from app.events.signals import Signals, Waiter
from app.jobs.history import read_history
from app.jobs.models import HistoryEntry

# The stream's own comments keep the connection open; this only bounds one silent wait.
LONGEST_WAIT = timedelta(seconds=15)
# A client that takes longer for one event is sent away. It may come back and go on where it was.
SLOWEST_CLIENT = timedelta(seconds=30)


T = TypeVar("T")
ReadJob = Callable[[], Awaitable[Document]]


def status_event(job_id: str, entry: HistoryEntry) -> ServerSentEvent:
    """One state change. It has no event name, so that the simplest client sees it, and its place as id."""
    data: dict[str, Any] = {
        "event": "task.status",
        "task_id": job_id,
        "status": entry.status.value,
        "timestamp": to_iso(entry.at),
        "error_type": entry.error.type if entry.error else None,
        "error_message": entry.error.message if entry.error else None,
        "attempt": entry.attempt,
        "reason": entry.reason.value,
    }
    return ServerSentEvent(data=data, id=str(entry.seq))


class EventStream:
    """The events of one task for one client, from where it has been. Without a ``live`` log only status changes."""

    def __init__(self, task: LiveTask, read: ReadJob, signals: Signals, *, live: LiveLog | None) -> None:
        self._task = task
        self._read = read
        self._signals = signals
        self._live = live
        self._seen = Place(0)

    async def events(self, last_seen: Place | None) -> AsyncIterator[ServerSentEvent]:
        """Every event behind ``last_seen``, then each new one, until a final status.

        Without ``last_seen`` it begins with the current status.
        """
        with self._signals.waiting_for(self._task.task_id, hears_live=self._live is not None) as waiter:
            async for event in taken_in_time(self._all_events(waiter, last_seen)):
                yield event

    async def _all_events(self, waiter: Waiter, last_seen: Place | None) -> AsyncGenerator[ServerSentEvent]:
        seen = last_seen
        while True:
            history = read_history((await read_patiently(self._read, waiter))["history"])
            if seen is None or seen.seq > len(history):
                seen = Place.just_before(len(history))
            self._seen = seen
            for entry in history[seen.seq :]:
                async for event in self._live_events(before=entry.seq):
                    yield event
                yield status_event(self._task.task_id, entry)
                self._seen = Place(entry.seq)
            if history[-1].status.is_final or waiter.must_end:
                return
            async for event in self._live_until_changed(waiter):
                yield event
            seen = self._seen

    async def _live_until_changed(self, waiter: Waiter) -> AsyncIterator[ServerSentEvent]:
        current, must_look = self._seen.seq, False
        while not must_look:
            # What follows a status change that was not read yet has to wait for it.
            async for event in self._live_events(before=current + 1):
                yield event
            must_look = await waiter.wait(LONGEST_WAIT)

    async def _live_events(self, *, before: int) -> AsyncIterator[ServerSentEvent]:
        while self._live is not None and self._seen < Place.just_before(before):
            found = await self._live.read(self._task, self._seen, before=before)
            for event in found:
                if lost := self._lost_before(event.place):
                    yield self._gap(lost)
                yield ServerSentEvent(raw_data=event.data, event=event.name, id=str(event.place))
                self._seen = event.place
            if not found:
                return

    def _lost_before(self, place: Place) -> Place | None:
        """The last of the events that are missing before this one."""
        expected = self._seen.number + 1 if place.seq == self._seen.seq else 1
        return Place(place.seq, place.number - 1) if place.number > expected else None

    def _gap(self, lost: Place) -> ServerSentEvent:
        data = {"event": "token", "task_id": self._task.task_id, "gap": True, "text": ""}
        return ServerSentEvent(raw_data=json.dumps(data), event="token", id=str(lost))


async def taken_in_time(events: AsyncGenerator[ServerSentEvent]) -> AsyncIterator[ServerSentEvent]:
    """The same events, until the client takes too long for one."""
    clock = asyncio.get_running_loop().time
    async with aclosing(events):
        async for event in events:
            offered_at = clock()
            yield event
            if clock() - offered_at > SLOWEST_CLIENT.total_seconds():
                return


async def read_patiently(read: Callable[[], Awaitable[T]], waiter: Waiter) -> T:
    """What the store answers as soon as it answers again; raises `Unavailable` only when the process stops."""
    # A store that is away for a moment need not cost every client its stream.
    while True:
        try:
            return await read()
        except Unavailable:
            if waiter.must_end:
                raise
            await waiter.wait(LONGEST_WAIT)


class StreamOver(Exception):
    """The client has seen the last event there will ever be."""


def check_not_over(job: Document, last_seen: Place | None) -> None:
    """Raises `StreamOver`: an `EventSource` that is answered with an empty stream would ask again for ever."""
    history = read_history(job["history"])
    if last_seen is not None and last_seen.seq == len(history) and history[-1].status.is_final:
        raise StreamOver
