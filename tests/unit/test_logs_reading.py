"""What is taken as log entries, and what is not: whole bodies or nothing."""

import json
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.errors import Invalid
from app.logs.models import LogEntry, LogLevel, search_terms
from app.logs.reading import LONGEST_ENTRY, MOST_ENTRIES, MOST_FIELDS, MOST_PROBLEMS, LogsInvalid, read_entries
from app.observability.redaction import MASK, Redactor
from tests.job_builders import NOON

SECRET = "the-configured-secret"
LINE = {"at": "2026-11-21T12:00:00Z", "level": "info", "message": "it began"}


def read(*entries: Any, as_lines: bool = False) -> list[LogEntry]:
    lines = [json.dumps(entry) for entry in entries]
    body = "\n".join(lines) if as_lines else f"[{','.join(lines)}]"
    return read_body(body.encode(), as_lines=as_lines)


def read_body(body: bytes, *, as_lines: bool = False) -> list[LogEntry]:
    return read_entries(body, as_lines=as_lines, now=NOON, masked=Redactor([SECRET]).whole)


def problems_of(body: bytes, *, as_lines: bool = False) -> list[str]:
    with pytest.raises(Invalid) as caught:
        read_body(body, as_lines=as_lines)
    return [problem["field"] for problem in caught.value.details.get("fields", ())]


@pytest.mark.parametrize("as_lines", [False, True])
def test_an_entry_is_read_with_all_it_says(as_lines: bool) -> None:
    full = {
        **LINE,
        "logger": "crawler",
        "task_id": "t1",
        "step": "a[0]",
        "fields": {"status": 429, "host.name": "x", "ok": None},
    }

    first, second = read(LINE, full, as_lines=as_lines)

    assert (first.at, first.level, first.message) == (datetime(2026, 11, 21, 12, tzinfo=UTC), LogLevel.INFO, "it began")
    assert second.names == {"logger": "crawler", "task_id": "t1", "step": "a[0]"}
    assert second.fields == {"status": 429, "host.name": "x", "ok": None}


def test_empty_lines_are_no_entries_and_a_time_without_a_zone_is_utc() -> None:
    body = b'\n\n{"at": "2026-11-21T11:00:00", "level": "error", "message": "x"}\r\n\n'

    [entry] = read_body(body, as_lines=True)

    assert entry.at == NOON - timedelta(hours=1)


@pytest.mark.parametrize(
    ("sent", "kept"),
    [("INFO", "info"), ("Warn", "warning"), ("WARNING", "warning"), ("FATAL", "critical"), ("trace", "debug")],
)
def test_levels_are_taken_as_loggers_spell_them(sent: str, kept: str) -> None:
    [entry] = read({**LINE, "level": sent})

    assert entry.level == kept


def test_what_looks_like_a_secret_is_masked_and_the_rest_is_kept_whole() -> None:
    told = "Authorization: Bearer abcdef123456 for https://ann:pass@example.com/x?token=t0ken " + 3000 * "x"
    fields = {"api_key": "k", "db.password": 7, "query": "all of it", "tokens": 12}

    [entry] = read({**LINE, "message": told, "fields": fields})

    assert not [secret for secret in ("abcdef123456", "ann:pass", "t0ken") if secret in entry.message]
    assert entry.message.endswith(3000 * "x")
    assert entry.fields == {"api_key": MASK, "db.password": MASK, "query": "all of it", "tokens": 12}


def test_configured_secrets_are_masked_wherever_they_are() -> None:
    line = {**LINE, "message": f"with {SECRET}", "logger": SECRET, "fields": {"header": f"Bearer {SECRET}", SECRET: 1}}

    [entry] = read(line)

    assert SECRET not in repr(entry)
    assert (entry.message, entry.fields[MASK]) == (f"with {MASK}", MASK)


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"at": "yesterday"}, "[1].at"),
        ({"at": 1_700_000_000}, "[1].at"),
        ({"at": "2026-11-21T14:00:00Z"}, "[1].at"),
        ({"at": "0001-01-01T00:00:00Z"}, "[1].at"),
        ({"level": "loud"}, "[1].level"),
        ({"message": ""}, "[1].message"),
        ({"message": 7}, "[1].message"),
        ({"message": "x" * 8193}, "[1].message"),
        ({"task_id": 7}, "[1].task_id"),
        ({"task_id": "x" * 201}, "[1].task_id"),
        ({"tenant_id": "blue"}, "[1].tenant_id"),
        ({"fields": {"a": [1]}}, "[1].fields.a"),
        ({"fields": {"a": {"b": 1}}}, "[1].fields.a"),
        ({"fields": {f"f{n}": n for n in range(MOST_FIELDS + 1)}}, "[1].fields"),
        ({"fields": {"a": "x" * LONGEST_ENTRY}}, "[1]"),
    ],
)
def test_a_wrong_entry_is_named_by_its_place_and_nothing_is_taken(changes: dict[str, Any], field: str) -> None:
    found = problems_of(json.dumps([LINE, {**LINE, **changes}]).encode())

    assert {name.removesuffix(".str").removesuffix(".int") for name in found} == {field}


def test_every_wrong_line_is_named_up_to_a_number() -> None:
    few = b"\n".join([json.dumps(LINE).encode(), b"{", b"[]", b'"text"', b"\xff"])

    assert problems_of(few, as_lines=True) == ["line 2", "line 3", "line 4", "line 5"]
    assert len(problems_of(b"{\n" * 500, as_lines=True)) == MOST_PROBLEMS


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"{}",
        b"null",
        b"7",
        b"[",
        b"[" * 100_000,
        b'[{"at": NaN}]',
        b'[{"a": 1, "a": 2}]',
        b"\xff\xfe",
        b'["\\ud800"]',
    ],
)
def test_a_body_that_is_no_array_of_entries_is_refused(body: bytes) -> None:
    with pytest.raises(Invalid):
        read_body(body)


def test_more_entries_than_allowed_are_refused() -> None:
    with pytest.raises(LogsInvalid, match=str(MOST_ENTRIES)):
        read(*[LINE] * (MOST_ENTRIES + 1))
    with pytest.raises(LogsInvalid, match=str(MOST_ENTRIES)):
        read(*[LINE] * (MOST_ENTRIES + 1), as_lines=True)

    assert len(read(*[LINE] * MOST_ENTRIES)) == MOST_ENTRIES


@given(body=st.binary(max_size=300), as_lines=st.booleans())
def test_whatever_is_sent_is_read_or_refused_and_never_anything_else(body: bytes, as_lines: bool) -> None:
    with suppress(Invalid):
        assert read_body(body, as_lines=as_lines)


def test_words_are_those_between_signs_in_lower_case_once_and_bounded() -> None:
    assert search_terms(["Job.retry_scheduled: retry!", "Größe 2x"]) == ["job", "retry", "scheduled", "größe", "2x"]
    assert len(search_terms([" ".join(f"w{n}" for n in range(500))])) == 64
    assert search_terms(["x" * 500]) == ["x" * 40]
