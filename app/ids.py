"""Identifiers: UUIDs in text form, so that every store keeps them alike; they grow with time and tell their day."""

import re
import secrets
from datetime import UTC, datetime, timedelta
from functools import lru_cache

import uuid_utils

# For an id without a time in it.
UNDATED = "undated"
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_DAY_MS = 24 * 60 * 60 * 1000
_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")


def new_id() -> str:
    """A fresh UUID of version 7: milliseconds since 1970, then random bits. To know it gives no right to anything."""
    return str(uuid_utils.uuid7())


def day_of(wanted: str) -> str:
    """The day in UTC on which `new_id` made it, as in `2026/11/21`, or `UNDATED`."""
    if not is_id(wanted) or wanted[14] != "7":
        return UNDATED
    return _day(int(wanted[:8] + wanted[9:13], 16) // _DAY_MS)


@lru_cache(maxsize=64)
def _day(number: int) -> str:
    try:
        return f"{EPOCH + timedelta(days=number):%Y/%m/%d}"
    except OverflowError:
        return UNDATED


def new_token() -> str:
    """A fencing token: never reused, so that a stale holder can be told from the current one."""
    return secrets.token_hex(12)


def new_trace_id() -> str:
    """A W3C trace id: 32 hexadecimal digits, not all zero."""
    return secrets.token_hex(16)


def is_id(value: object) -> bool:
    return isinstance(value, str) and _UUID.fullmatch(value) is not None
