"""An execution's events for one client: how its steps begin and end, and its status whenever that changes.

An event's id is its number in the order of the execution's events; a status has that of the last event before it.
"""

import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from datetime import timedelta
from typing import Any

from fastapi.sse import ServerSentEvent

from app.clock import to_iso
from app.events.places import Place
from app.events.signals import Signals, Waiter
from app.events.stream import LONGEST_WAIT, StreamOver, read_patiently, taken_in_time
from app.jobs.models import Job
from app.workflows.executions.listing import status_of_step
from app.workflows.executions.models import ExecutionStatus, status_of
from app.workflows.executions.timeline import Kind, Occurrence, Timeline

PAGE = 500
# A write that is in flight is over by then, or lost.
GAP_PATIENCE = timedelta(seconds=2)
GAP_PAUSE = timedelta(milliseconds=100)
# What follows the number of an event in the id of a status behind it.
_PASSING, _FINAL = 1, 2

ReadExecution = Callable[[], Awaitable[Job]]


def check_not_over(execution: Job, last_seen: Place | None) -> None:
    """Raises `StreamOver`: an `EventSource` that is answered with an empty stream would ask again for ever."""
    if execution.status.is_final and last_seen is not None and last_seen >= _end_of(execution):
        raise StreamOver


class ExecutionStream:
    """The events of one execution for one client, from where it has been."""

    def __init__(
        self,
        execution_id: str,
        read: ReadExecution,
        timeline: Timeline,
        signals: Signals,
        *,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._id = execution_id
        self._read = read
        self._timeline = timeline
        self._signals = signals
        self._monotonic = monotonic
        self._seen = 0
        self._told: ExecutionStatus | None = None
        self._gap_since: float | None = None

    async def events(self, last_seen: Place | None) -> AsyncIterator[ServerSentEvent]:
        """The status, every event behind ``last_seen``, then each new one, until a final status.

        Without ``last_seen`` it begins with what happens now.
        """
        with self._signals.waiting_for(self._id) as waiter:
            async for event in taken_in_time(self._all_events(waiter, last_seen)):
                yield event

    async def _all_events(self, waiter: Waiter, last_seen: Place | None) -> AsyncGenerator[ServerSentEvent]:
        execution = await read_patiently(self._read, waiter)
        self._seen = await self._timeline.newest(execution) if last_seen is None else last_seen.seq
        while True:
            found = await self._timeline.list_after(execution, self._seen, limit=PAGE)
            # Nothing is in flight any more once an execution has ended.
            ready = found if execution.status.is_final else self._ready(found)
            for occurrence in ready:
                self._seen = occurrence.seq
                if occurrence.kind is not Kind.EXECUTION:
                    yield _step_event(self._id, occurrence)
            is_behind = len(ready) == PAGE
            if not is_behind:
                for event in self._status_events(execution):
                    yield event
                if execution.status.is_final or waiter.must_end:
                    return
                await waiter.wait(GAP_PAUSE if self._gap_since is not None else LONGEST_WAIT)
            execution = await read_patiently(self._read, waiter)

    def _ready(self, found: list[Occurrence]) -> list[Occurrence]:
        """Those up to a number that is missing; all, when it has been missing for long."""
        if self._seen == 0 and found and found[0].seq == 2:
            # The first number is the driver's own note, which is written when the driver first rests.
            self._seen = 1
        whole = [one for place, one in enumerate(found, start=self._seen + 1) if one.seq == place]
        if len(whole) == len(found):
            self._gap_since = None
            return found
        now = self._monotonic()
        if whole or self._gap_since is None:
            self._gap_since = now
            return whole
        if now - self._gap_since < GAP_PATIENCE.total_seconds():
            return []
        self._gap_since = None
        return found

    def _status_events(self, execution: Job) -> list[ServerSentEvent]:
        status = status_of(execution)
        if status is self._told:
            return []
        self._told = status
        place = _end_of(execution) if execution.status.is_final else Place(self._seen, _PASSING)
        return [_status_event(execution, status, place)]


def _end_of(execution: Job) -> Place:
    return Place(execution.document["last_seq"], _FINAL)


def _status_event(execution: Job, status: ExecutionStatus, place: Place) -> ServerSentEvent:
    """It has no event name, so that the simplest client sees it."""
    document, fault = execution.document, execution.document["fault"] or {}
    data: dict[str, Any] = {
        "event": "execution.status",
        "execution_id": execution.id,
        "status": status.value,
        "timestamp": to_iso(document["updated_at"]),
        "error_type": fault.get("type"),
        "error_message": fault.get("message"),
        "series": document["series"],
        "progress_percentage": document["progress"]["percent"],
    }
    return ServerSentEvent(data=data, id=str(place))


def _step_event(execution_id: str, occurrence: Occurrence) -> ServerSentEvent:
    step, has_ended = occurrence.subject, occurrence.kind is Kind.ENDED
    fault = (step["fault"] or step["error"] if has_ended else None) or {}
    data: dict[str, Any] = {
        "event": occurrence.kind.value,
        "execution_id": execution_id,
        "path": step["path"],
        "kind": step["kind"],
        "end": status_of_step(step).value if has_ended else None,
        "timestamp": to_iso(occurrence.at) if occurrence.at else None,
        "error_type": fault.get("type"),
        "error_message": fault.get("message"),
        "series": step["series"],
        "waits_for": (step["waits_for"] or {}).get("what") if not has_ended else None,
    }
    return ServerSentEvent(data=data, event="step", id=str(occurrence.seq))
