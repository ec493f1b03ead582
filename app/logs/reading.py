"""Reads what is sent to `/v1/logs`: a JSON array or JSON Lines, whole or not at all."""

import json
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints, ValidationError

from app.errors import Invalid
from app.http.json_text import MalformedJson, check_json
from app.http.timestamps import in_utc
from app.logs.models import NAMES, LogEntry, LogLevel, Scalar
from app.observability.redaction import MASK, is_secret_name

JSON_LINES = "application/x-ndjson"
MAX_BYTES = 1024 * 1024
MOST_ENTRIES = 1000
LONGEST_ENTRY = 16 * 1024
MOST_FIELDS = 32
MOST_PROBLEMS = 20
# Clocks differ; what claims to be from tomorrow would be the newest line until then.
MOST_AHEAD = timedelta(hours=1)
_MAX_DEPTH = 4

# What loggers of other languages call them.
_LEVELS = {"warn": "warning", "fatal": "critical", "trace": "debug"}
Name = Annotated[str, StringConstraints(min_length=1, max_length=200)]
FieldName = Annotated[str, StringConstraints(min_length=1, max_length=128)]


class LogsInvalid(Invalid):
    code = "LOGS_INVALID"
    title = "Log entries invalid"


def _level(given: Any) -> Any:
    return _LEVELS.get(given.lower(), given.lower()) if isinstance(given, str) else given


class LogLine(BaseModel):
    """One entry as it is sent."""

    model_config = ConfigDict(
        extra="forbid",
        strict=True,
        json_schema_extra={
            "examples": [
                {
                    "at": "2026-11-21T10:00:00.000Z",
                    "level": "warning",
                    "message": "the crawler was told to slow down",
                    "logger": "crawler",
                    "task_id": "5f0c2a52-6f0b-4d0e-9c55-0d2b6d1f3a77",
                    "fields": {"status": 429, "host": "example.com"},
                }
            ]
        },
    )

    at: datetime = Field(description="When it happened; UTC if it names no zone.")
    level: Annotated[LogLevel, BeforeValidator(_level)]
    message: str = Field(min_length=1, max_length=8192)
    logger: Name | None = None
    task_id: Name | None = None
    execution_id: Name | None = None
    step: Name | None = None
    agent: Name | None = None
    trace_id: Name | None = None
    fields: dict[FieldName, str | int | float | bool | None] = Field(
        default_factory=dict, max_length=MOST_FIELDS, description="Whatever else it says: scalars only."
    )


class _Problems(Exception):
    """What is wrong with one entry, by field."""

    def __init__(self, *found: tuple[str, str]) -> None:
        super().__init__()
        self.found = found


def read_entries(body: bytes, *, as_lines: bool, now: datetime, masked: Callable[[str], str]) -> list[LogEntry]:
    """Raises `LogsInvalid` that names entries by their place from 0, or by their line from 1, with what is wrong.

    ``masked`` takes secrets out of a text; what is called like one is left out whole.
    """
    entries, problems = [], []
    for place, text in _lines_of(body) if as_lines else _elements_of(body):
        try:
            entries.append(_read(text, as_line=as_lines, now=now, masked=masked))
        except _Problems as wrong:
            problems += [{"field": f"{place}.{name}" if name else place, "message": told} for name, told in wrong.found]
        if len(problems) >= MOST_PROBLEMS:
            break
    if problems:
        first = problems[0]
        raise LogsInvalid(
            f"{first['field']}: {first['message']}; nothing was kept",
            fields=[{**problem, "type": "invalid", "location": "body"} for problem in problems],
        )
    if not entries:
        raise LogsInvalid("there is no entry in the body", field="body", type="missing")
    return entries


def _elements_of(body: bytes) -> Iterator[tuple[str, bytes]]:
    check_json(body, max_depth=_MAX_DEPTH)
    elements = json.loads(body)
    if not isinstance(elements, list):
        raise LogsInvalid(f"send an array of entries, or JSON Lines as {JSON_LINES}", field="body", type="list_type")
    _check_number(len(elements))
    for place, element in enumerate(elements):
        yield f"[{place}]", json.dumps(element, ensure_ascii=False, separators=(",", ":")).encode()


def _lines_of(body: bytes) -> Iterator[tuple[str, bytes]]:
    lines = [(f"line {number}", line) for number, line in enumerate(body.split(b"\n"), start=1) if line.strip()]
    _check_number(len(lines))
    yield from lines


def _check_number(count: int) -> None:
    if count > MOST_ENTRIES:
        raise LogsInvalid(f"at most {MOST_ENTRIES} entries at once, not {count}", field="body", type="too_long")


def _read(text: bytes, *, as_line: bool, now: datetime, masked: Callable[[str], str]) -> LogEntry:
    if len(text) > LONGEST_ENTRY:
        raise _Problems(("", f"an entry has at most {LONGEST_ENTRY} bytes, not {len(text)}"))
    try:
        if as_line:
            check_json(text, max_depth=_MAX_DEPTH)
        line = LogLine.model_validate_json(text)
        return _entry(line, now=now, masked=masked)
    except ValidationError as error:
        raise _Problems(*(_told(problem) for problem in error.errors(include_url=False, include_input=False))) from None
    except MalformedJson as error:
        raise _Problems(("", error.message)) from None


def _told(problem: Any) -> tuple[str, str]:
    return ".".join(str(part)[:64] for part in problem["loc"][:2]), str(problem["msg"])[:300]


def _entry(line: LogLine, *, now: datetime, masked: Callable[[str], str]) -> LogEntry:
    try:
        at = in_utc(line.at, "at")
    except Invalid as error:
        raise _Problems(("at", error.message)) from None
    if at is None or at > now + MOST_AHEAD:
        raise _Problems(("at", "it lies in the future: is this machine's clock right?"))
    names = {name: masked(value) for name in NAMES if (value := getattr(line, name))}
    fields = {masked(name): _kept(name, value, masked) for name, value in line.fields.items()}
    return LogEntry(at, line.level, masked(line.message), names, fields)


def _kept(name: str, value: Scalar, masked: Callable[[str], str]) -> Scalar:
    if is_secret_name(name):
        return MASK
    return masked(value) if isinstance(value, str) else value
