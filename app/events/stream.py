"""A job's history as server-sent events, resumable at every entry."""

from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import timedelta
from typing import Any

from fastapi.sse import ServerSentEvent

from app.clock import to_iso
from app.database.documents import Document
from app.errors import Unavailable
from app.events.signals import Signals, Waiter
from app.jobs.history import read_history
from app.jobs.models import HistoryEntry

# The stream's own comments keep the connection open; this only bounds one silent wait.
LONGEST_WAIT = timedelta(seconds=15)


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


async def stream_history(
    job_id: str, read: ReadJob, signals: Signals, *, last_seen: int | None
) -> AsyncIterator[ServerSentEvent]:
    """Every entry behind ``last_seen``, then each new one, until a final one.

    Without ``last_seen`` it begins with the current status.
    """
    with signals.waiting_for(job_id) as waiter:
        seen = last_seen
        while True:
            history = read_history((await _read_patiently(read, waiter))["history"])
            if seen is None or seen > len(history):
                seen = len(history) - 1
            for entry in history[seen:]:
                yield status_event(job_id, entry)
            seen = len(history)
            if history[-1].status.is_final or waiter.must_end:
                return
            await waiter.wait(LONGEST_WAIT)


async def _read_patiently(read: ReadJob, waiter: Waiter) -> Document:
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


def check_not_over(job: Document, last_seen: int | None) -> None:
    """Raises `StreamOver`: an `EventSource` that is answered with an empty stream would ask again for ever."""
    history = read_history(job["history"])
    if last_seen == len(history) and history[-1].status.is_final:
        raise StreamOver


def read_last_event_id(value: str | None) -> int | None:
    """The place a client resumes at; None (begin with the current status) for anything that is not one."""
    if value is None or not value.isascii() or not value.isdigit() or len(value) > 9:
        return None
    return int(value)
