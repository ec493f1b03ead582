"""Texts to data with places: what is refused, in how little time, and that JSON means what it always means."""

import json
import time
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from app.source_tree import MOST_FAULTS, Fault, Limits, SourceInvalid
from app.yaml_source import read_yaml, text_of

LIMITS = Limits(size=1024 * 1024, depth=32)
# Two orders of magnitude above what they take, so that a slow machine does not fail.
A_MOMENT = 10.0
TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=20)
INTEGERS = st.integers(-(2**63) + 1, 2**63 - 1)
SCALARS = st.none() | st.booleans() | INTEGERS | st.floats(allow_nan=False, allow_infinity=False) | TEXTS
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=4), max_leaves=20
)


def value_of(text: str) -> Any:
    return read_yaml(text, LIMITS).value


def outcome_of(text: str) -> tuple[tuple[Fault, ...], Any]:
    """Either faults, or what was read."""
    try:
        return (), read_yaml(text, LIMITS).value
    except SourceInvalid as error:
        return error.faults, None


def faults_of(text: str) -> list[tuple[int, int, str]]:
    with pytest.raises(SourceInvalid) as caught:
        read_yaml(text, LIMITS)
    return [(fault.line, fault.column, fault.message) for fault in caught.value.faults]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("on", "on"),
        ("yes", "yes"),
        ("No", "No"),
        ("true", True),
        ("FALSE", False),
        ("~", None),
        ("", None),
        ("Null", None),
        ("017", 17),
        ("0o17", 15),
        ("0x1F", 31),
        ("-12", -12),
        ("1_000", "1_000"),
        ("12:30:45", "12:30:45"),
        ("2020-01-01", "2020-01-01"),
        ("1e3", 1000.0),
        (".5", 0.5),
        ("1.", 1.0),
        ("1.2.3", "1.2.3"),
        ("'5'", "5"),
        ('"true"', "true"),
        ("|\n  5\n", "5\n"),
        ("=", "="),
    ],
)
def test_a_plain_scalar_is_what_yaml_1_2_says(text: str, value: Any) -> None:
    found = value_of(f"key: {text}")["key"]

    assert found == value
    assert type(found) is type(value)


def test_every_part_has_the_place_where_it_begins() -> None:
    tree = read_yaml("# one\na:\n  - x\n  - {b: 1,\n     c: 2}\n", LIMITS)

    assert tree.places == {
        (): (2, 1),
        ("a",): (2, 1),
        ("a", 0): (3, 5),
        ("a", 1): (4, 5),
        ("a", 1, "b"): (4, 6),
        ("a", 1, "c"): (5, 6),
    }


def test_json_has_the_same_places() -> None:
    tree = read_yaml('{"a": [1,\n\t{"b": "\\ud83d\\ude00"}]}', LIMITS)

    assert tree.value == {"a": [1, {"b": "😀"}]}
    assert tree.places == {(): (1, 1), ("a",): (1, 2), ("a", 0): (1, 8), ("a", 1): (2, 2), ("a", 1, "b"): (2, 3)}


@given(VALUES, st.sampled_from([None, 1, "\t"]))
@settings(max_examples=200, suppress_health_check=[HealthCheck.too_slow])
def test_json_means_what_it_means_everywhere(value: Any, indent: int | str | None) -> None:
    text = json.dumps({"value": value}, indent=indent, ensure_ascii=False)

    assert value_of(text) == json.loads(text)


@given(st.text(max_size=200))
@settings(max_examples=200, suppress_health_check=[HealthCheck.too_slow])
def test_any_text_is_read_or_refused_with_a_place(text: str) -> None:
    faults, value = outcome_of(text)

    assert all(1 <= fault.line <= len(text) + 1 and fault.column >= 1 for fault in faults)
    assert len(faults) <= MOST_FAULTS
    json.dumps(value, allow_nan=False).encode()


@given(st.text("{}[]:,&*!|>-?'\"# \n\tab1", max_size=60))
@settings(max_examples=200, suppress_health_check=[HealthCheck.too_slow])
def test_any_soup_of_yaml_marks_is_read_or_refused_with_a_place(text: str) -> None:
    faults, value = outcome_of(text)

    assert all(1 <= fault.line <= text.count("\n") + 1 for fault in faults)
    json.dumps(value, allow_nan=False)


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("a: &x 1", (1, 4, "anchors are not allowed: &x")),
        ("a: *x", (1, 4, "aliases are not allowed: *x")),
        ("a: !!python/object:os.system x", (1, 4, "tags are not allowed: tag:yaml.org,2002:python/object:os.system")),
        ("a: !mine x", (1, 4, "tags are not allowed: !mine")),
        ("<<: {a: 1}", (1, 1, "merge keys are not allowed")),
        ("a: 1\nb: 2\na: 3", (3, 1, "a is there twice")),
        ('{"a": 1,\n "a": 2}', (2, 2, "a is there twice")),
        ("1: x", (1, 1, "the key 1 is not a text")),
        ("null: x", (1, 1, "the key null is not a text")),
        ("[a, b]: x", (1, 1, "a key must be a text")),
        ("a: .nan", (1, 4, "a number is not finite")),
        ("a: -.INF", (1, 4, "a number is not finite")),
        ('{"a": NaN}', (1, 7, "a number is not finite")),
        ('{"a": 1e400}', (1, 7, "a number is not finite")),
        ("a: 9223372036854775808", (1, 4, "a whole number has more than 64 bits")),
        (f'{{"a": {"9" * 5000}}}', (1, 7, "a whole number has more than 64 bits")),
        ('a: "\\0"', (1, 4, "a text holds NUL or half a character")),
        ('{"a": "\\u0000"}', (1, 7, "a text holds NUL or half a character")),
        ('{"\\ud800": 1}', (1, 2, "a text holds NUL or half a character")),
        ("a: x\n---\nb: y", (2, 1, "there is a second document")),
        ("a: \0", (1, 4, "the character U+0000 cannot be in a document")),
        ("a:\n b: \ud800", (2, 5, "the character U+D800 cannot be in a document")),
        ('{"a": 1, "b" 2}', (1, 14, "it is not JSON: expecting ':' after the key")),
        ('{"a": 1, "b": }\n]', (2, 1, "it is not YAML: did not find expected <document start>")),
        ("a: [1, 2", (1, 9, "it is not YAML: did not find expected ',' or ']'")),
    ],
)
def test_what_harms_or_surprises_is_refused_where_it_stands(text: str, fault: tuple[int, int, str]) -> None:
    assert faults_of(text) == [fault]


def test_all_that_is_not_allowed_is_told_at_once() -> None:
    told = [message for _, _, message in faults_of("a: &x 1\nb: *x\na: 2\n5: 6")]

    assert told == [
        "anchors are not allowed: &x",
        "aliases are not allowed: *x",
        "a is there twice",
        "the key 5 is not a text",
    ]


def test_no_more_faults_are_told_than_anyone_reads() -> None:
    assert len(faults_of("\n".join(f"{number}: x" for number in range(1000)))) == MOST_FAULTS


def test_a_mark_of_byte_order_is_no_part_of_the_text() -> None:
    assert value_of("\ufeffa: 1") == {"a": 1}
    assert text_of(b"\xef\xbb\xbfa: 1", LIMITS) == "a: 1"


def test_bytes_that_are_no_utf_8_are_refused_with_the_line() -> None:
    with pytest.raises(SourceInvalid) as caught:
        text_of(b"a: 1\nb: \xff\xfe", LIMITS)

    assert caught.value.faults[0].told == "it is not UTF-8 text: save it as UTF-8"
    assert caught.value.faults[0].line == 2


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a" * (10 * 1024 * 1024), "it is larger than 1048576 bytes"),
        ("é" * (600 * 1024), "it is larger than 1048576 bytes"),
        ("[" * 100_000, "it is nested too deeply"),
        ('{"a":' * 100_000, "it is nested too deeply"),
        ("- " * 100_000, "it is nested too deeply"),
        ("? " * 100_000, "a key must be a text"),
        ("".join(f"{' ' * level}a:\n" for level in range(100)), "it is nested too deeply"),
        (f"a: [{'1,' * 400_000}]", "it has too many values"),
        (f"[{'1,' * 400_000}1]", "it has too many values"),
        ("\n".join([f"a{n}: &a{n} [{f'*a{n - 1},' * 9}]" for n in range(1, 50)]), "anchors are not allowed: &a1"),
        (f'"{chr(92) * 100_000}', "it is not YAML: found unexpected end of stream"),
        (f"a: {'1' * 900_000}", "a whole number has more than 64 bits"),
        (f"a: 1e{'9' * 900_000}", "a number is not finite"),
    ],
    ids=lambda value: str(value)[:12],
)
def test_a_bomb_is_refused_in_a_moment(text: str, message: str) -> None:
    started = time.monotonic()

    faults = faults_of(text)

    assert faults[0][2] == message
    assert time.monotonic() - started < A_MOMENT


def test_the_largest_that_is_taken_is_read() -> None:
    text = "".join(f"key_{number}: {'x' * 30}\n" for number in range(20_000))

    tree = read_yaml(text, LIMITS)

    assert len(tree.value) == 20_000
    assert tree.places[("key_19999",)] == (20_000, 1)
