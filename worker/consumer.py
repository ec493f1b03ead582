"""Celery's consumer, without what is not used here, quicker back at the broker, and not to be ended by it."""

import time
from functools import partial
from typing import Any

from celery.worker.consumer import Consumer

LONGEST_PAUSE = 5
# A connection that fails sooner than this was of no use; the next one is not tried at once.
SHORT_LIFE = 5.0
PAUSE = 1.0
# What kombu raises for an entry of the queue that is no message. It is gone from the queue by then.
UNREADABLE = (ValueError, KeyError, TypeError)


class LeanConsumer(Consumer):  # type: ignore[misc]
    class Blueprint(Consumer.Blueprint):  # type: ignore[misc]
        # With a quorum queue, its step for delayed messages would declare 28 more of them and as many exchanges.
        default_steps = tuple(step for step in Consumer.Blueprint.default_steps if "delayed_delivery" not in step)

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        # It connects anew after these instead of ending the worker and everything that runs in it.
        self.channel_errors = (*self.conninfo.channel_errors, *UNREADABLE)
        self._connected_at = float("-inf")

    def ensure_connected(self, conn: Any) -> Any:
        """Try for ever, at most five seconds apart: kombu's pauses grow to 30, for which all work would wait."""
        conn.ensure_connection = partial(
            conn.ensure_connection, interval_start=1, interval_step=1, interval_max=LONGEST_PAUSE
        )
        connection = super().ensure_connected(conn)
        self._connected_at = time.monotonic()
        return connection

    def on_connection_error_after_connected(self, exc: Exception) -> None:
        super().on_connection_error_after_connected(exc)
        # A read-only server takes each connection and refuses the first command, again and again.
        if not isinstance(exc, UNREADABLE) and time.monotonic() - self._connected_at < SHORT_LIFE:
            time.sleep(PAUSE)
