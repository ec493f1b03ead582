"""Live events: what happens while a task runs. They are kept in one bounded Redis stream per task, and may be lost.

An entry's id is the event's place: the number of the status change that began the attempt, and a count within it. Redis
takes only ids that grow, so that an attempt which was replaced can append nothing, and appending again what may have
arrived is harmless. What was lost shows as a missing number.
"""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import structlog
from redis.asyncio import Redis
from redis.asyncio.client import Pipeline
from redis.exceptions import RedisError

from app.events.places import Place
from app.events.signals import LIVE_CHANNEL

log = structlog.get_logger(__name__)
Entry = tuple[bytes, dict[bytes, bytes]]

MOST_KEPT = 5000
MOST_READ = 50
KEPT_FOR = timedelta(minutes=10)
PATIENCE = timedelta(seconds=1)
AWAY_PAUSE = timedelta(seconds=1)


@dataclass(frozen=True, slots=True)
class LiveEvent:
    """``data`` is JSON."""

    place: Place
    name: str
    data: str


@dataclass(frozen=True, slots=True)
class LiveTask:
    """Whose live events."""

    tenant_id: str
    task_id: str

    @property
    def key(self) -> str:
        return f"orchestrator:live:{self.tenant_id}:{self.task_id}"


@dataclass(frozen=True, slots=True)
class _Wanted:
    task: LiveTask
    first: str
    last: str
    answer: "asyncio.Future[list[Entry]]"


class LiveLog:
    """Neither end waits for a Redis that is away: appending is given up, reading finds nothing."""

    def __init__(self, redis: "Redis | None") -> None:
        self._redis = redis
        self._away_until = 0.0
        self._wanted: list[_Wanted] = []
        self._reader: asyncio.Task[None] | None = None

    @property
    def is_kept(self) -> bool:
        """Whether there is a Redis at all."""
        return self._redis is not None

    async def close(self) -> None:
        if self._reader is not None:
            await asyncio.wait({self._reader}, timeout=PATIENCE.total_seconds())
        if self._redis is not None:
            await self._redis.aclose()

    async def append(self, events: Mapping[LiveTask, Sequence[LiveEvent]]) -> bool:
        """Append in one round trip and wake whoever follows these tasks; False when that is not certain."""
        if self._redis is None or self._is_away:
            return False
        pipeline = self._redis.pipeline(transaction=False)
        for task, appended in events.items():
            for event in appended:
                pipeline.xadd(
                    task.key,
                    {"event": event.name, "data": event.data.encode(errors="replace")},
                    id=_entry_id(event.place),
                    maxlen=MOST_KEPT,
                    approximate=True,
                )
            pipeline.expire(task.key, KEPT_FOR)
        pipeline.publish(LIVE_CHANNEL, "\n".join(task.task_id for task in events))
        return await self._execute(pipeline) is not None

    async def read(self, task: LiveTask, behind: Place, *, before: int | None = None) -> list[LiveEvent]:
        """The next events behind a place, `MOST_READ` at most; only those before the status change ``before``."""
        if self._redis is None or self._is_away:
            return []
        last = "+" if before is None else _entry_id(Place(before))
        wanted = _Wanted(task, _entry_id(behind.next), last, asyncio.get_running_loop().create_future())
        self._wanted.append(wanted)
        if self._reader is None or self._reader.done():
            self._reader = asyncio.create_task(self._read_wanted(self._redis), name="live-read")
        return [_event(entry) for entry in await wanted.answer]

    async def _read_wanted(self, redis: "Redis") -> None:
        # What is asked for while one question is on its way goes out together in the next.
        while self._wanted:
            batch, self._wanted = self._wanted, []
            pipeline = redis.pipeline(transaction=False)
            for one in batch:
                pipeline.xrange(one.task.key, one.first, one.last, count=MOST_READ)
            found = await self._execute(pipeline) or [[]] * len(batch)
            for one, entries in zip(batch, found, strict=True):
                if not one.answer.done():
                    one.answer.set_result([] if isinstance(entries, Exception) else entries)

    async def _execute(self, pipeline: "Pipeline") -> list[Any] | None:
        """The answers, a refusal of a single command among them; None when Redis did not answer in time."""
        commands = list(pipeline.command_stack)
        try:
            return await _within_patience(pipeline)
        except (RedisError, OSError, TimeoutError):
            # A Redis that was restarted is there, behind a new connection. And when this process itself stood still,
            # the answer is there, and only the time to take it was over.
            pipeline.command_stack.extend(commands)
        try:
            return await _within_patience(pipeline)
        except (RedisError, OSError, TimeoutError) as error:
            self._note_away(error)
            return None

    def _note_away(self, error: Exception) -> None:
        self._away_until = _now() + AWAY_PAUSE.total_seconds()
        log.debug("live.redis_away", error=type(error).__name__)

    @property
    def _is_away(self) -> bool:
        return _now() < self._away_until


async def _within_patience(pipeline: "Pipeline") -> list[Any]:
    async with asyncio.timeout(PATIENCE.total_seconds()):
        return await pipeline.execute(raise_on_error=False)


def _entry_id(place: Place) -> str:
    return f"{place.seq}-{place.number}"


def _event(entry: Entry) -> LiveEvent:
    entry_id, fields = entry
    seq, _, number = entry_id.partition(b"-")
    return LiveEvent(Place(int(seq), int(number)), fields[b"event"].decode(), fields[b"data"].decode())


def _now() -> float:
    return asyncio.get_running_loop().time()
