"""Times on the wire: they leave as ISO 8601, UTC, milliseconds, ``Z``, and come in with any offset or none."""

from datetime import UTC, datetime
from typing import Annotated

from pydantic import PlainSerializer, WithJsonSchema

from app.clock import to_iso
from app.errors import Invalid

FIRST_YEAR, LAST_YEAR = 1970, 9998

Timestamp = Annotated[
    datetime,
    PlainSerializer(to_iso, return_type=str, when_used="json"),
    WithJsonSchema({"type": "string", "format": "date-time", "examples": ["2026-11-21T10:00:00.000Z"]}),
]


def in_utc(moment: datetime | None, field: str) -> datetime | None:
    """The moment with a time zone: UTC when it has none. Raises `Invalid` at the edges of the calendar."""
    if moment is None:
        return None
    # A year from either end, so that no time zone leads out of the calendar.
    if not FIRST_YEAR <= moment.year <= LAST_YEAR:
        raise Invalid(f"{field} must lie between the years {FIRST_YEAR} and {LAST_YEAR}", field=field)
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment


def check_span(after: datetime | None, before: datetime | None, name: str, other: str) -> None:
    if after and before and after >= before:
        raise Invalid(f"{name} must be earlier than {other}", field=name)
