"""One kept line of a log, and how lines are looked for. Pure."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any

from app.database.documents import Document

Scalar = str | int | float | bool | None
MOST_TERMS = 64
LONGEST_TERM = 40
_WORD = re.compile(r"[^\W_]+")
# What a line says of itself; it is left out where it says nothing, so that indexes stay small.
NAMES = ("logger", "task_id", "execution_id", "step", "agent", "trace_id")


class LogLevel(StrEnum):
    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"
    CRITICAL = "critical"

    @property
    def and_above(self) -> list[str]:
        levels = [level.value for level in LogLevel]
        return levels[levels.index(self.value) :]


@dataclass(frozen=True, slots=True)
class LogEntry:
    """``names`` are those of `NAMES` that are known."""

    at: datetime
    level: LogLevel
    message: str
    names: Mapping[str, str] = field(default_factory=dict)
    fields: Mapping[str, Scalar] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class LogQuery:
    """Which entries are meant; everything is optional and combines with and. ``words`` are whole words, all of them."""

    words: str | None = None
    level: LogLevel = LogLevel.DEBUG
    task_id: str | None = None
    execution_id: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    received_since: datetime | None = None

    def as_filter(self) -> dict[str, Any]:
        wanted = {"task_id": self.task_id, "execution_id": self.execution_id}
        where: dict[str, Any] = {name: value for name, value in wanted.items() if value is not None}
        if self.level is not LogLevel.DEBUG:
            where["level"] = {"$in": self.level.and_above}
        if self.words is not None:
            where["search_terms"] = _all_of(search_terms([self.words]))
        if self.since or self.until:
            where["at"] = {name: bound for name, bound in (("$gte", self.since), ("$lt", self.until)) if bound}
        if self.received_since:
            where["received_at"] = {"$gte": self.received_since}
        return where


def _all_of(terms: Sequence[str]) -> dict[str, Any]:
    """Whole words, by equality: the index has those of one word in the order of the list, however many there are.

    The longest is looked up, since long words are rarer.
    """
    return {"$eq": max(terms, key=len), "$all": list(terms)} if terms else {"$in": []}


def search_terms(texts: Iterable[str]) -> list[str]:
    """The words of these texts in lower case, each once, the first ones of long texts; `a.b_c` has three."""
    words = (found[:LONGEST_TERM] for text in texts for found in _WORD.findall(text.lower()))
    return list(dict.fromkeys(words))[:MOST_TERMS]


def document_of(entry: LogEntry) -> Document:
    """What is stored of it; names of fields are data and so no keys of the document."""
    told = [str(value) for value in entry.fields.values() if value is not None and not isinstance(value, bool)]
    texts = [entry.message, *entry.names.values(), *told]
    return {
        "at": entry.at,
        "level": entry.level.value,
        "message": entry.message,
        **{name: entry.names[name] for name in NAMES if entry.names.get(name)},
        "fields": [{"name": name, "value": value} for name, value in entry.fields.items()],
        "search_terms": search_terms(texts),
    }
