"""The log of an execution as lines to read, made from its events. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from app.workflows.executions.listing import status_of_step
from app.workflows.executions.models import seconds_between
from app.workflows.executions.timeline import Kind, Occurrence
from app.workflows.planner import End

_ABNORMAL = frozenset({End.TOLERATED, End.EXHAUSTED, End.CANCELLED, End.BLOCKED})


class Level(StrEnum):
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


LEVELS = tuple(Level)
_COMMON = frozenset({"seq", "at", "event", "by"})


@dataclass(frozen=True, slots=True)
class LogLine:
    """``path`` is the step's, None for what is about the whole execution."""

    seq: int
    at: datetime | None
    level: Level
    path: str | None
    message: str


@dataclass(frozen=True, slots=True)
class LogQuery:
    """``level`` is the least; ``words`` is a text that the path or the message holds."""

    level: Level = Level.INFO
    words: str = ""

    def takes(self, line: LogLine) -> bool:
        is_grave = LEVELS.index(line.level) >= LEVELS.index(self.level)
        return is_grave and self.words.casefold() in f"{line.path or ''} {line.message}".casefold()


def line_of(occurrence: Occurrence) -> LogLine:
    match occurrence.kind:
        case Kind.STARTED:
            return _started(occurrence)
        case Kind.ENDED:
            return _ended(occurrence)
        case Kind.EXECUTION:
            return _own(occurrence)


def _started(occurrence: Occurrence) -> LogLine:
    step = occurrence.subject
    waits = (step["waits_for"] or {}).get("what")
    told = f"{step['kind']} waits for {_article(waits)}" if waits else f"{step['kind']} began"
    return LogLine(occurrence.seq, occurrence.at, Level.INFO, step["path"], told)


def _ended(occurrence: Occurrence) -> LogLine:
    step = occurrence.subject
    end, fault = End(status_of_step(step)), step["fault"] or step["error"]
    level = Level.ERROR if end is End.FAILED else Level.WARNING if end in _ABNORMAL else Level.INFO
    parts = [str(step["kind"]), end.value]
    if step["attempt"] > 1:
        parts.append(f"after {step['attempt']} attempts")
    took = seconds_between(step["created_at"], step["completed_at"])
    if took is not None and end is not End.SKIPPED:
        parts.append(f"in {took:.3f} s")
    because = f": {fault['type']}: {fault['message']}" if fault else ""
    return LogLine(occurrence.seq, occurrence.at, level, step["path"], " ".join(parts) + because)


def _own(occurrence: Occurrence) -> LogLine:
    entry = occurrence.subject
    by = f" by {entry['by']}" if entry.get("by") else ""
    told = ", ".join(f"{name} {value}" for name, value in detail_of(entry).items())
    detail = f": {told}" if told else ""
    level = Level.WARNING if entry["event"] == "cancel_requested" else Level.INFO
    return LogLine(occurrence.seq, occurrence.at, level, None, f"execution {entry['event']}{by}{detail}")


def detail_of(entry: Mapping[str, Any]) -> dict[str, Any]:
    """What an entry says besides what all have."""
    return {name: value for name, value in entry.items() if name not in _COMMON and value is not None}


def _article(what: str) -> str:
    return "a time" if what == "time" else f"an {what}"
