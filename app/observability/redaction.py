"""What must never reach a log: secrets, and what people and models wrote."""

import math
import re
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from functools import lru_cache
from pathlib import PurePath
from typing import Any
from urllib.parse import unquote, urlsplit
from uuid import UUID

from pydantic import BaseModel, SecretStr

from app.clock import to_iso
from app.observability.failures import describe

MASK = "[redacted]"
MAX_TEXT = 2048
MAX_ENTRIES = 50
MAX_DEPTH = 4
# Longer strings are cut before they are searched, so that one line cannot cost milliseconds.
_MAX_SEARCHED = 64 * 1024
# Shorter ones would hide half of every line, and `Settings` takes no key below 8.
_SHORTEST_SECRET = 8

_SECRET_KEY = re.compile(
    r"authorization|cookie|api_?key|password|passwd|secret|credential|private_key|access_key|(^|_)token$|(^|_)dsn$"
)
_PAYLOAD_KEYS = frozenset(
    {
        "answer", "arguments", "body", "completion", "content", "document", "input", "input_text", "messages", "output",
        "payload", "prompt", "query", "raw_output", "request_body", "response_body", "result", "summary",
        "system_prompt", "task_text", "text",
    }
)  # fmt: skip
# Substring searches: an expression that ignores case costs ten times as much, on every field of every line.
_MARKERS = (
    "://", "sk-", "tvly-", "bearer", "basic", "token", "key", "passw", "secret", "authorization", "input_value=",
    "full error", "exception=",
)  # fmt: skip
_PATTERNS: tuple[tuple[re.Pattern[str], str], ...] = (
    (re.compile(r"://[^/\s@]+@"), f"://{MASK}@"),
    (re.compile(r"\b(bearer|basic)\s+[\w.~+/=-]{6,}", re.IGNORECASE), rf"\1 {MASK}"),
    (re.compile(r"\b(?:sk|tvly)-[\w-]{8,}"), MASK),
    (
        re.compile(
            r"(api[_-]?key|token|password|passwd|secret|authorization)(['\"]?\s*[=:]\s*['\"]?)[^\s'\"&,;)}\]]+",
            re.IGNORECASE,
        ),
        rf"\1\2{MASK}",
    ),
    # Pydantic, PyMongo and asyncio repeat values in their texts. To the end of the line: a value can hold anything,
    # and a search for where it ends would be quadratic.
    (re.compile(r"input_value=.*"), f"input_value={MASK}"),
    (re.compile(r", full error: .*", re.DOTALL), ""),
    (re.compile(r"exception=(\w+)\(.*"), rf"exception=\1({MASK})"),
)


def secrets_of(settings: BaseModel) -> frozenset[str]:
    """Every configured secret as it could appear in a text; of a URL only the password."""
    found: set[str] = set()
    for name in type(settings).model_fields:
        found.update(_secrets_in(getattr(settings, name)))
    return frozenset(secret for secret in found if len(secret) >= _SHORTEST_SECRET)


def _secrets_in(value: Any) -> Iterable[str]:
    if isinstance(value, SecretStr):
        return _spellings(value.get_secret_value())
    if isinstance(value, BaseModel):
        return secrets_of(value)
    if isinstance(value, Mapping):
        return (secret for entry in value.values() for secret in _secrets_in(entry))
    if isinstance(value, tuple):
        return (secret for entry in value for secret in _secrets_in(entry))
    return ()


def _spellings(secret: str) -> tuple[str, ...]:
    if "://" not in secret:
        # A header's value, `Bearer …`, may be told without its first word.
        return (secret, *secret.split())
    password = urlsplit(secret).password
    return (password, unquote(password)) if password else ()


class Redactor:
    """Makes any value fit to be logged. It never calls ``repr`` on an object it does not know."""

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        # The longest first: a secret may begin with another one.
        known = [re.escape(secret) for secret in sorted(secrets, key=len, reverse=True)]
        self._secrets = re.compile("|".join(known)) if known else None

    def entry(self, key: str, value: Any) -> Any:
        """What may be logged of ``value`` under the name ``key``."""
        return MASK if _is_hidden(key) else self.value(value)

    def text(self, text: str) -> str:
        text = self.whole(text[:_MAX_SEARCHED])
        return text if len(text) <= MAX_TEXT else f"{text[:MAX_TEXT]}… ({len(text)} characters)"

    def whole(self, text: str) -> str:
        """The whole text without the configured secrets, and without what looks like one."""
        text = self.masked(text)
        if _is_suspicious(text):
            for pattern, replacement in _PATTERNS:
                text = pattern.sub(replacement, text)
        return text

    def masked(self, text: str) -> str:
        """The whole text without the configured secrets, for what is kept and not logged."""
        return text if self._secrets is None else self._secrets.sub(MASK, text)

    def value(self, value: Any, depth: int = 0) -> Any:
        if isinstance(value, str):
            return self.text(value)
        if value is None or isinstance(value, bool | int):
            return value
        if isinstance(value, float):
            return value if math.isfinite(value) else str(value)
        if isinstance(value, Mapping | list | tuple | set | frozenset):
            return self._collection(value, depth) if depth < MAX_DEPTH else f"<{type(value).__name__}>"
        return self._other(value)

    def _collection(self, value: Any, depth: int) -> Any:
        if not isinstance(value, Mapping):
            return [self.value(entry, depth + 1) for entry in list(value)[:MAX_ENTRIES]]
        return {
            self.text(str(key)): MASK if _is_hidden(str(key)) else self.value(entry, depth + 1)
            for key, entry in list(value.items())[:MAX_ENTRIES]
        }

    def _other(self, value: Any) -> Any:
        if isinstance(value, datetime):
            return to_iso(value)
        if isinstance(value, timedelta):
            return value.total_seconds()
        if isinstance(value, UUID | PurePath):
            return self.text(str(value))
        if isinstance(value, BaseException):
            return self.text(describe(value))
        return f"<{type(value).__name__}>"


def is_secret_name(name: str) -> bool:
    """Whether what is called so is a secret."""
    return _SECRET_KEY.search(name.lower().replace("-", "_")) is not None


def storable(text: str) -> str:
    """The text without what UTF-8 cannot hold, as names of files and headers may have it."""
    return text.encode("utf-8", "replace").decode()


def _is_suspicious(text: str) -> bool:
    lowered = text.lower()
    return any(marker in lowered for marker in _MARKERS)


@lru_cache(maxsize=2048)
def _is_hidden(key: str) -> bool:
    name = key.lower().replace("-", "_")
    return name in _PAYLOAD_KEYS or is_secret_name(name)
