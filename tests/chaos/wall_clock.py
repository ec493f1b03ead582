"""A machine whose wall clock is wrong, and jumps: the offset in seconds is read from a file each time."""

import os
import time
from datetime import datetime, timedelta, tzinfo
from pathlib import Path
from typing import Self

from app import clock

VARIABLE = "CHAOS_CLOCK_FILE"


def install() -> None:
    """Put `time.time` and the product's source of wall time off by what the file says."""
    if not (name := os.environ.get(VARIABLE)):
        return
    path, real_time = Path(name), time.time

    def offset() -> float:
        return float(path.read_text() or 0)

    class WrongDatetime(datetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> Self:
            return super().now(tz) + timedelta(seconds=offset())

    time.time = lambda: real_time() + offset()
    # Where `utc_now` looks it up; there is no other reader of the wall clock in a worker.
    vars(clock)["datetime"] = WrongDatetime
