"""The worker's end of live events: what attempts do is gathered for a moment and published together.

Nothing here waits for Redis in an attempt's way, but for one bounded moment at its end. What cannot be published is
dropped, and shows as a missing number.
"""

import asyncio
import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from types import TracebackType
from typing import Any, Self

from app.events.live import LiveEvent, LiveLog, LiveTask
from app.events.places import Place
from app.jobs.history import count_claims
from app.jobs.models import Job

# A reader hardly sees a difference below this, and each piece by itself would cost as much as what gathers meanwhile.
GATHERING = timedelta(milliseconds=40)
LAST_WORDS = timedelta(seconds=1)
# Characters that an attempt may have waiting while Redis is slow, an event without text counted as some.
MOST_WAITING = 16 * 1024
_WEIGHT = 256
# Agent, model and the time from the question to the first piece of the answer.
FirstTokenSeen = Callable[[str, str, timedelta], None]


@dataclass(slots=True)
class _Waiting:
    """An event on its way. Pieces of the same answer gather in one; one without a name stands for what was dropped."""

    name: str = ""
    data: Mapping[str, Any] = field(default_factory=dict)
    answer: "LiveAnswer | None" = None
    text: list[str] = field(default_factory=list)

    @property
    def as_json(self) -> str:
        data = self.data if self.answer is None else {**self.data, "text": "".join(self.text)}
        return json.dumps(data, ensure_ascii=False, separators=(",", ":"))


class LiveAttempt:
    """What one attempt at a task lets others see. Leaving it publishes what is left."""

    def __init__(self, publisher: "LivePublisher", job: Job) -> None:
        history = job.document["history"]
        self.task = LiveTask(job.tenant_id, job.id)
        self.publisher = publisher
        self._common = {"task_id": job.id, "attempt": job.attempt}
        self._place = Place(len(history))
        self._waiting: list[_Waiting] = []
        self._size = 0
        self._has_spoken = False
        if count_claims(history) > 1:
            # What the attempts before this one said is void.
            self.publish("run", {"phase": "restarted"})

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        # Whoever cancels an attempt waits for its end.
        if self._has_spoken and not isinstance(error, asyncio.CancelledError):
            await self.publisher.flush()

    def begin_run(self, run_id: str, agent_name: str, agent_role: str, *, is_quiet: bool = False) -> "LiveRun":
        """A quiet one is not told of before it asks a model or a tool: what does neither costs nothing."""
        run = LiveRun(self, run_id, agent_name, agent_role)
        if not is_quiet:
            run.announce()
        return run

    def publish(self, name: str, data: Mapping[str, Any]) -> None:
        """Say that something happened. Returns at once."""
        if not self.publisher.is_heard:
            return
        self._has_spoken = True
        if self._has_room(_WEIGHT):
            self._waiting.append(_Waiting(name, {"event": name, **self._common, **data}))
        self.publisher.publish_soon(self)

    def publish_text(self, answer: "LiveAnswer", text: str, *, is_first: bool) -> None:
        """One piece of an answer. Returns at once."""
        self._has_spoken = True
        if self._has_room(len(text)):
            last = self._waiting[-1] if self._waiting else None
            if last is None or last.answer is not answer:
                last = _Waiting("token", {"event": "token", **self._common, **answer.facts}, answer)
                self._waiting.append(last)
            last.text.append(text)
        self.publisher.publish_soon(self, at_once=is_first)

    def take_waiting(self) -> list[LiveEvent]:
        """Everything that was not published yet, numbered."""
        waiting, self._waiting, self._size = self._waiting, [], 0
        events = []
        for one in waiting:
            self._place = self._place.next
            if one.name:
                events.append(LiveEvent(self._place, one.name, one.as_json))
        return events

    def _has_room(self, size: int) -> bool:
        if self._size + size > MOST_WAITING:
            if not self._waiting or self._waiting[-1].name:
                self._waiting.append(_Waiting())
            return False
        self._size += size
        return True


class LiveRun:
    """One agent's work within an attempt. ``first_token_ms`` is how long its first answer in pieces took to begin."""

    def __init__(self, attempt: LiveAttempt, run_id: str, agent_name: str, agent_role: str) -> None:
        self.agent_name = agent_name
        self.first_token_ms: float | None = None
        self._attempt = attempt
        self._facts = {"run_id": run_id, "agent_name": agent_name, "agent_role": agent_role}
        self._answers = 0
        self._tool_calls = 0
        self._is_announced = False

    @property
    def streams_tokens(self) -> bool:
        """Whether asking a model for its answer in pieces is of use to anybody."""
        return self._attempt.publisher.streams_tokens

    def announce(self) -> None:
        """Say once that it has begun."""
        if not self._is_announced:
            self._is_announced = True
            self._attempt.publish("run", {"phase": "started", **self._facts})

    def finish(self, status: str, *, model: str | None) -> None:
        if not self._is_announced:
            return
        self._attempt.publish("run", {"phase": "finished", **self._facts, "status": status, "model": model})

    def begin_answer(self, model: str) -> "LiveAnswer":
        self.announce()
        self._answers += 1
        return LiveAnswer(self, model, {"run_id": self._facts["run_id"], "call": self._answers})

    def begin_tool(self, name: str) -> Callable[[str], None]:
        """Say that a tool is being called. Call the result with how that ended."""
        self.announce()
        self._tool_calls += 1
        facts = {"run_id": self._facts["run_id"], "tool": name, "call": self._tool_calls}
        self._attempt.publish("tool", {"phase": "started", **facts})
        return lambda status: self._attempt.publish("tool", {"phase": "finished", **facts, "status": status})

    def publish_text(self, answer: "LiveAnswer", text: str, *, is_first: bool) -> None:
        self._attempt.publish_text(answer, text, is_first=is_first)

    def note_first_token(self, model: str, after: timedelta) -> None:
        if self.first_token_ms is None:
            self.first_token_ms = round(after.total_seconds() * 1000, 1)
        self._attempt.publisher.on_first_token(self.agent_name, model, after)


class LiveAnswer:
    """The text of one model call, as it comes."""

    def __init__(self, run: LiveRun, model: str, facts: Mapping[str, Any]) -> None:
        self.facts = facts
        self._run = run
        self._model = model
        self._asked_at = time.monotonic()
        self.has_text = False

    def add(self, text: str) -> None:
        is_first = not self.has_text
        if is_first:
            self.has_text = True
            self._run.note_first_token(self._model, timedelta(seconds=time.monotonic() - self._asked_at))
        self._run.publish_text(self, text, is_first=is_first)


class LivePublisher:
    """Publishes for all attempts of one worker process; belongs to its event loop."""

    def __init__(self, log: LiveLog, *, tokens: bool, on_first_token: FirstTokenSeen) -> None:
        self.on_first_token = on_first_token
        self.is_heard = log.is_kept
        self.streams_tokens = tokens and log.is_kept
        self._log = log
        self._unpublished: dict[LiveAttempt, None] = {}
        self._sender: asyncio.Task[None] | None = None
        self._flushes: set[asyncio.Task[None]] = set()
        self._hurry = asyncio.Event()
        self._one_at_a_time = asyncio.Lock()

    def of_attempt(self, job: Job) -> LiveAttempt:
        return LiveAttempt(self, job)

    def publish_soon(self, attempt: LiveAttempt, *, at_once: bool = False) -> None:
        self._unpublished[attempt] = None
        if at_once:
            self._hurry.set()
        if self._sender is None or self._sender.done():
            self._sender = asyncio.create_task(self._publish_all(), name="live-publish")

    async def flush(self) -> None:
        """Return when everything said so far is published, or after a moment."""
        if not self._unpublished and not self._one_at_a_time.locked():
            return
        # A task of its own: it publishes for others too, and must not be cancelled with this caller.
        flush = asyncio.create_task(self._publish(), name="live-flush")
        self._flushes.add(flush)
        flush.add_done_callback(self._flushes.discard)
        await asyncio.wait({flush}, timeout=LAST_WORDS.total_seconds())

    async def close(self) -> None:
        if self._sender is not None:
            await asyncio.wait({self._sender}, timeout=LAST_WORDS.total_seconds())

    async def _publish_all(self) -> None:
        while self._unpublished:
            self._hurry.clear()
            await self._publish()
            await self._gather()

    async def _gather(self) -> None:
        try:
            async with asyncio.timeout(GATHERING.total_seconds()):
                await self._hurry.wait()
        except TimeoutError:
            return

    async def _publish(self) -> None:
        # Two at a time could overtake each other, and Redis refuses what comes late.
        async with self._one_at_a_time:
            attempts, self._unpublished = self._unpublished, {}
            events: dict[LiveTask, list[LiveEvent]] = {}
            for attempt in attempts:
                events.setdefault(attempt.task, []).extend(attempt.take_waiting())
            if events:
                await self._log.append(events)
