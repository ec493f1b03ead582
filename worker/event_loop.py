"""The one event loop of a worker process, in a thread of its own beside Celery's."""

import asyncio
import threading
import time
from collections.abc import Coroutine
from concurrent.futures import Future
from typing import Any, TypeVar

import uvloop

T = TypeVar("T")
STARTUP_PATIENCE = 10.0


class EventLoopThread:
    """Runs coroutines for the whole process and tells whether it still turns."""

    def __init__(self) -> None:
        self.loop = uvloop.new_event_loop()
        self._turned_at: float | None = None
        self._thread = threading.Thread(target=self._run, name="event-loop", daemon=True)
        self._thread.start()

    def run(self, coroutine: Coroutine[Any, Any, T], *, patience: float | None = STARTUP_PATIENCE) -> T:
        """Run to the end and answer its result; from any thread but the loop's own."""
        return self.submit(coroutine).result(patience)

    def submit(self, coroutine: Coroutine[Any, Any, T]) -> "Future[T]":
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop)

    @property
    def is_alive(self) -> bool:
        return self._thread.is_alive()

    def measure_lag(self) -> float:
        """Seconds since the loop last turned, as of the previous call; asks it to turn again.

        Counted from the first call on: nobody asked before, however long the start of the process took.
        """
        now = time.monotonic()
        if self._turned_at is None:
            self._turned_at = now
        lag = now - self._turned_at
        if self.is_alive:
            self.loop.call_soon_threadsafe(self._note_turn)
        return lag

    def stop(self) -> None:
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(2.0)

    def _note_turn(self) -> None:
        self._turned_at = time.monotonic()

    def _run(self) -> None:
        asyncio.set_event_loop(self.loop)
        self.loop.run_forever()
