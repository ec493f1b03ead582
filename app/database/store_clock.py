"""The store's clock: what leases, timers and deadlines are compared with, so that one machine's skew harms nobody."""

import time
from collections.abc import Callable
from datetime import datetime, timedelta

from app.clock import to_milliseconds, utc_now
from app.database.documents import Database

# A slow answer says little about the time: half of its round trip is the error.
LONGEST_ROUND_TRIP = timedelta(milliseconds=200)


class StoreClock:
    """Callable like `utc_now`: the store's time at the last good measurement, and what has passed since.

    What has passed is counted by the monotonic clock, so that a step of the machine's own clock changes nothing.
    """

    def __init__(self, *, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._anchor = (monotonic(), utc_now())
        self._is_measured = False

    def __call__(self) -> datetime:
        since, moment = self._anchor
        return to_milliseconds(moment + timedelta(seconds=self._monotonic() - since))

    async def synchronise(self, database: Database) -> None:
        """Ask the store for its time (``localTime`` of `hello`); the error is at most half the round trip."""
        asked_at = self._monotonic()
        reply = await database.command("hello", codec_options=database.codec_options)
        self.adopt(reply["localTime"], asked_at=asked_at, answered_at=self._monotonic())

    def adopt(self, store_time: datetime, *, asked_at: float, answered_at: float) -> None:
        """Take over a measurement, unless it is a poor one and there is a better one already."""
        round_trip = timedelta(seconds=answered_at - asked_at)
        if self._is_measured and round_trip > LONGEST_ROUND_TRIP:
            return
        self._anchor = (answered_at, store_time + round_trip / 2)
        self._is_measured = True
