"""Identifiers: random UUIDs in text form, so that they cannot be guessed and every store keeps them alike."""

import re
import secrets
import uuid

_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")


def new_id() -> str:
    """A fresh random UUID (122 random bits)."""
    return str(uuid.uuid4())


def new_token() -> str:
    """A fencing token: never reused, so that a stale holder can be told from the current one."""
    return secrets.token_hex(12)


def new_trace_id() -> str:
    """A W3C trace id: 32 hexadecimal digits, not all zero."""
    return secrets.token_hex(16)


def is_id(value: object) -> bool:
    return isinstance(value, str) and _UUID.fullmatch(value) is not None
