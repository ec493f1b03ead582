"""How a worker's own log lines come to be kept: through a bounded queue, in batches, never at the work's expense."""

import asyncio
import threading
from collections import deque
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from itertools import islice
from typing import Any

from app.cancellation import stop
from app.database.errors import StoreFailure
from app.errors import OrchestratorError
from app.ids import new_id
from app.logs.models import NAMES, LogEntry, LogLevel, Scalar
from app.logs.reading import MOST_FIELDS
from app.logs.repository import LogRepository
from app.observability.redaction import storable

WORKER = "worker"
MOST_QUEUED = 10_000
BATCH = 500
LONGEST_TEXT = 2048
_PAUSE, _LONGEST_PAUSE = 1.0, 10.0
_LAST_TRY = 2.0
STOP_PATIENCE = timedelta(seconds=1)
_TOLD = frozenset({"timestamp", "level", "event", "tenant_id", *NAMES})

Line = Mapping[str, Any]


class LogQueue:
    """Lines that wait to be kept; `put` is for any thread, takes no time and drops what finds no place.

    Only lines that belong to a tenant are taken: others are nobody's to read, and those about shipping would beget
    others.
    """

    def __init__(self, *, most: int = MOST_QUEUED) -> None:
        self._most = most
        self._lines: deque[tuple[str, LogEntry]] = deque()
        self._lock = threading.Lock()
        self._dropped = 0

    def put(self, line: Line) -> None:
        """``line`` as the log's own pipeline made it, redacted."""
        tenant_id = line.get("tenant_id")
        if not isinstance(tenant_id, str):
            return
        with self._lock:
            if len(self._lines) >= self._most:
                self._dropped += 1
            else:
                self._lines.append((tenant_id, entry_of(line)))

    def __len__(self) -> int:
        return len(self._lines)

    def peek(self, most: int) -> list[tuple[str, LogEntry]]:
        """The oldest lines; they stay until they are removed."""
        with self._lock:
            return list(islice(self._lines, most))

    def remove(self, count: int) -> None:
        with self._lock:
            for _ in range(count):
                self._lines.popleft()

    def take_dropped(self) -> int:
        """How many were dropped since this was last asked."""
        with self._lock:
            dropped, self._dropped = self._dropped, 0
            return dropped


class LogShipper:
    """Carries lines from the queue to the store. While the store is away they wait, and then are dropped, counted."""

    def __init__(
        self, queue: LogQueue, repository: LogRepository, *, on_dropped: Callable[[int], None], pause: float = _PAUSE
    ) -> None:
        self._queue = queue
        self._repository = repository
        self._on_dropped = on_dropped
        self._pause = pause
        self._batch = new_id()
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._task = asyncio.create_task(self._run(), name="log-shipping")

    async def close(self) -> None:
        """Ship what is there, if the store takes it now."""
        if self._task is None:
            return
        await stop(self._task, patience=STOP_PATIENCE)
        try:
            async with asyncio.timeout(_LAST_TRY):
                await self._ship_all()
        except (TimeoutError, OrchestratorError):
            self._on_dropped(len(self._queue))

    async def _run(self) -> None:
        pause = self._pause
        while True:
            await asyncio.sleep(pause)
            try:
                await self._ship_all()
            except OrchestratorError:
                # Told by the metric of what is dropped, and by everything else that needs the store.
                pause = min(2 * pause, _LONGEST_PAUSE)
            else:
                pause = self._pause

    async def _ship_all(self) -> None:
        if dropped := self._queue.take_dropped():
            self._on_dropped(dropped)
        while lines := self._queue.peek(BATCH):
            try:
                # Under the same name until it is through: a write whose answer was lost is not made twice.
                await self._repository.keep(self._batch, lines, by=WORKER)
            except StoreFailure:
                # The store will not have these, ever.
                self._on_dropped(len(lines))
            self._queue.remove(len(lines))
            self._batch = new_id()


def entry_of(line: Line) -> LogEntry:
    """What is kept of a line: its own names, its scalars up to a number, and texts up to a length."""
    names = {name: _text(line[name]) for name in NAMES if isinstance(line.get(name), str)}
    others = [(name, value) for name, value in line.items() if name not in _TOLD]
    return LogEntry(
        at=datetime.fromisoformat(line["timestamp"]),
        level=_level(line["level"]),
        message=_text(line["event"]),
        names=names,
        fields={storable(name): _scalar(value) for name, value in others[:MOST_FIELDS]},
    )


def _level(name: str) -> LogLevel:
    try:
        return LogLevel(name)
    except ValueError:
        return LogLevel.ERROR if name == "exception" else LogLevel.INFO


def _scalar(value: Any) -> Scalar:
    if value is None or isinstance(value, bool | float):
        return value
    if isinstance(value, int):
        # The store holds 64 bits.
        return value if -(2**63) <= value < 2**63 else str(value)
    return _text(value)


def _text(value: Any) -> str:
    return storable(str(value))[:LONGEST_TEXT]
