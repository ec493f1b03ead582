"""The store's clock: what leases, timers and deadlines are compared with, so that one machine's skew harms nobody."""

import time
from datetime import datetime, timedelta

from app.clock import to_milliseconds, utc_now
from app.database.documents import Database


class StoreClock:
    """Callable like `utc_now`, corrected by the store's time measured at the last `synchronise`."""

    def __init__(self) -> None:
        self._offset = timedelta()

    def __call__(self) -> datetime:
        return to_milliseconds(utc_now() + self._offset)

    @property
    def offset(self) -> timedelta:
        """How far the store is ahead of this machine."""
        return self._offset

    async def synchronise(self, database: Database) -> None:
        """Ask the store for its time (``localTime`` of `hello`); the error is at most half the round trip."""
        asked_at, started = utc_now(), time.monotonic()
        reply = await database.command("hello", codec_options=database.codec_options)
        round_trip = timedelta(seconds=time.monotonic() - started)
        self.adopt(reply["localTime"] - (asked_at + round_trip / 2), uncertainty=round_trip / 2)

    def adopt(self, offset: timedelta, *, uncertainty: timedelta) -> None:
        # Below the precision of the measurement a correction would only add noise.
        significant = abs(offset) > uncertainty + timedelta(milliseconds=50)
        self._offset = offset if significant else timedelta()
