"""Events, each with the digest of everything before it. Pure.

The hash of an event is SHA-256 over it without `hash`, as JSON in ASCII with keys sorted and without spaces, so that
anybody can check it; `previous` is the hash of the one before.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping
from typing import Any

BEGINNING = "0" * 64
Event = dict[str, Any]


def canonical(value: Any) -> bytes:
    """The same bytes for the same JSON value, whoever writes them."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False).encode()


def digest_of(event: Mapping[str, Any]) -> str:
    return hashlib.sha256(canonical({name: value for name, value in event.items() if name != "hash"})).hexdigest()


def chained(events: Iterable[Mapping[str, Any]]) -> list[Event]:
    """The same events with `previous` and `hash`."""
    found: list[Event] = []
    previous = BEGINNING
    for event in events:
        linked = {**event, "previous": previous}
        linked["hash"] = previous = digest_of(linked)
        found.append(linked)
    return found


def follows(event: Any, previous: str) -> bool:
    """Whether this is, unchanged, what came after the event of that hash."""
    try:
        return bool(event["previous"] == previous and event["hash"] == digest_of(event))
    except (KeyError, TypeError, ValueError, AttributeError, RecursionError):
        return False
