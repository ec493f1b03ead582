"""Time as a value that is passed in: aware UTC datetimes, cut to milliseconds because the store keeps no more."""

from collections.abc import Callable
from datetime import UTC, datetime

Clock = Callable[[], datetime]


def to_milliseconds(moment: datetime) -> datetime:
    return moment.replace(microsecond=moment.microsecond // 1000 * 1000)


def utc_now() -> datetime:
    return to_milliseconds(datetime.now(UTC))


def to_iso(moment: datetime) -> str:
    """ISO 8601 with a ``Z``, the form every response uses."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
