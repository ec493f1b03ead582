"""How long something is, as people write it."""

import re
from datetime import timedelta
from typing import Annotated, Any

from pydantic import BeforeValidator, PlainSerializer, WithJsonSchema

_NUMBER = "[0-9]{1,9}"
_PARTS = rf"(?:({_NUMBER})d)?(?:({_NUMBER})h)?(?:({_NUMBER})m)?(?:({_NUMBER}(?:\.[0-9]{{1,6}})?)s)?(?:({_NUMBER})ms)?"
_DURATION = re.compile(_PARTS)
DURATION_PATTERN = f"^{_PARTS}$"
_UNITS = ("days", "hours", "minutes", "seconds", "milliseconds")
LONGEST_DURATION = timedelta(days=365)


def parse_duration(value: Any) -> Any:
    """`90s`, `1h30m`, `250ms`. Raises ValueError."""
    if isinstance(value, timedelta):
        return value
    found = _DURATION.fullmatch(value) if isinstance(value, str) else None
    if found is None or not any(found.groups()):
        raise ValueError("write a duration with units, for instance 90s, 10m, 1h30m or 250ms")
    given = zip(_UNITS, found.groups(), strict=True)
    length = timedelta(**{unit: float(number) for unit, number in given if number})
    if not timedelta() < length <= LONGEST_DURATION:
        raise ValueError("a duration is longer than nothing and at most 365 days")
    return length


def duration_text(length: timedelta) -> str:
    """What `parse_duration` reads as this length."""
    return f"{length.total_seconds():.6f}".rstrip("0").rstrip(".") + "s"


Duration = Annotated[
    timedelta,
    BeforeValidator(parse_duration),
    PlainSerializer(duration_text, return_type=str),
    WithJsonSchema({"type": "string", "pattern": DURATION_PATTERN, "minLength": 2}),
]
