"""Deterministic checks: what each lets through, what it says otherwise, and that no spelling talks one over."""

import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from app.governance.evaluation.checks import check
from app.governance.evaluation.models import CheckResult, Subject, SubjectFile
from app.governance.evaluation.texts import comparable
from app.setting_evaluation import BUILT_IN_CHECKS, Check

CHECK: TypeAdapter[Any] = TypeAdapter(Check)
ENGLISH = "The harbour was built of granite in three summers, and the town grew around it."
GERMAN = "Der Hafen wurde in drei Sommern aus Granit gebaut, und die Stadt wuchs um ihn herum."
SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
KEY = "sk-" + "a1B2" * 8


def found(subject: Subject | str, **wanted: Any) -> CheckResult:
    given = Subject("a task", subject) if isinstance(subject, str) else subject
    return check(CHECK.validate_python(wanted), given)


@pytest.mark.parametrize(
    ("subject", "wanted", "passes"),
    [
        (Subject("t", "", data={"city": "Kyiv"}), {"source": "data"}, True),
        (Subject("t", "", data={"city": 7}), {"source": "data"}, False),
        (Subject("t", '{"city": "Kyiv"}'), {"source": "data"}, False),
        (Subject("t", '{"city": "Kyiv"}'), {"source": "text"}, True),
        (Subject("t", 'Here:\n\n```json\n{"city": "Kyiv"}\n```\n'), {"source": "text"}, True),
        (Subject("t", "Here is no JSON."), {"source": "text"}, False),
        (Subject("t", "[" * 100_000), {"source": "text"}, False),
    ],
)
def test_data_has_to_fit_its_schema(subject: Subject, wanted: dict[str, Any], passes: bool) -> None:
    result = found(subject, type="json_schema", schema=SCHEMA, **wanted)

    assert (result.passed, result.score) == (passes, float(passes))
    assert bool(result.message) is not passes


def test_a_schema_that_the_data_does_not_fit_is_told_by_place_and_never_by_value() -> None:
    result = found(Subject("t", "", data={"city": 4711}), type="json_schema", schema=SCHEMA)

    assert "city (type)" in result.message
    assert "4711" not in result.message


def test_a_schema_that_costs_too_much_fails_and_does_not_stop_anybody() -> None:
    schema = {"items": {"enum": list(range(200))}}

    result = found(Subject("t", "", data=[1] * 2000), type="json_schema", schema=schema)

    assert not result.passed
    assert "takes too long" in result.message


@pytest.mark.parametrize(
    ("wanted", "message", "score"),
    [
        ({"min_words": 15}, "", 1.0),
        ({"min_words": 30}, "it has 15 words, and at least 30 are needed", 0.5),
        ({"max_words": 5}, "it has 15 words, and at most 5 are allowed", 0.3333),
        ({"min_characters": 158}, "it has 79 characters, and at least 158 are needed", 0.5),
        ({"max_characters": 79}, "", 1.0),
    ],
)
def test_a_length_out_of_bounds_scores_by_how_far_it_is_off(wanted: dict[str, int], message: str, score: float) -> None:
    result = found(ENGLISH, type="length", **wanted)

    assert (result.passed, result.message, result.score) == (not message, message, score)


@given(st.text(max_size=300), st.integers(0, 200), st.integers(1, 200))
def test_a_length_score_is_a_share_and_full_only_when_it_passes(text: str, least: int, most: int) -> None:
    result = found(text, type="length", min_words=least, max_characters=most)

    assert 0 <= result.score <= 1
    assert result.passed == (len(text.split()) >= least and len(text) <= most)


@pytest.mark.parametrize(
    ("text", "expected", "passes"),
    [
        (ENGLISH, ["en"], True),
        (GERMAN, ["en"], False),
        (GERMAN, ["en", "de"], True),
        (f"{GERMAN}\n\n```python\n# This comment is in English and long enough to decide\n```\n", ["de"], True),
        ("Yes.", ["en"], False),
    ],
)
def test_the_prose_is_in_a_language_that_is_expected(text: str, expected: list[str], passes: bool) -> None:
    assert found(text, type="language", expected=expected).passed is passes


@pytest.mark.parametrize(
    "text",
    [
        "Never say ACME.",
        "never say acme",
        "Ａｃｍｅ in wide letters",
        "ac\u200bme with nothing in between",
        "ac\u200dme with a joiner",
        "a\u00adcme with a soft hyphen",
        "acme\u2060 with a word joiner",
        "(acme)",
        "**acme**",
    ],
)
def test_a_forbidden_word_is_found_however_it_is_spelled(text: str) -> None:
    result = found(text, type="forbidden", texts=["Acme"])

    assert (result.passed, result.score) == (False, 0.0)
    assert result.message == "it holds what is forbidden: 'Acme'"


@pytest.mark.parametrize(
    "subject",
    [
        Subject("t", "", data={"note": ["made by Äcme"]}),
        Subject("t", "", files=(SubjectFile("a.py", "# made by Äcme"),)),
        Subject("t", "made\n by\n\täcme"),
    ],
)
def test_what_is_forbidden_is_looked_for_in_text_data_and_files(subject: Subject) -> None:
    assert not found(subject, type="forbidden", texts=["made by äcme"]).passed


def test_a_word_within_a_word_is_forbidden_only_on_demand_and_parts_are_not_joined() -> None:
    parts = Subject("t", "one", files=(SubjectFile("a", "two"),))

    assert found("pacmen", type="forbidden", texts=["acme"]).passed
    assert not found("pacmen", type="forbidden", texts=["acme"], whole_words=False).passed
    assert found(parts, type="forbidden", texts=["one two"]).passed
    assert found("anything", type="forbidden", texts=["\u200b"]).passed


def test_what_is_forbidden_is_text_and_no_pattern() -> None:
    assert found("aaaa", type="forbidden", texts=["(a+)+$", ".*"]).passed
    assert not found("It is (a+)+$ here", type="forbidden", texts=["(a+)+$"], whole_words=False).passed


def test_of_what_is_required_each_missing_text_costs_its_share() -> None:
    result = found(ENGLISH, type="required", texts=["GRANITE", "three  summers", "lighthouse", "harbour"])

    assert (result.passed, result.score) == (False, 0.75)
    assert result.message == "it lacks what is required: 'lighthouse'"
    assert found(ENGLISH, type="required", texts=["granite"]).passed


@given(st.text(min_size=1, max_size=40), st.text(max_size=40), st.text(max_size=40))
def test_a_text_that_is_there_is_always_found(wanted: str, before: str, after: str) -> None:
    if not wanted.strip() or not comparable(wanted):
        return
    said = f"{before} {wanted} {after}"

    assert found(said, type="required", texts=[wanted]).passed
    assert not found(said, type="forbidden", texts=[wanted], whole_words=False).passed


@pytest.mark.parametrize(
    ("text", "urls", "minimum", "said"),
    [
        ("It is so [1], and so [2].", ("https://example.com/a", "http://example.com/b"), 2, ""),
        ("No mark at all.", ("https://example.com/a",), 1, ""),
        ("Nothing is cited.", (), 0, ""),
        ("Nothing is cited.", (), 1, "it has 0 citations, and at least 1 are needed"),
        ("It is so [3].", ("https://example.com/a",), 1, "it cites '[3]', which is not in its list"),
        ("It is so [0].", ("https://example.com/a",), 1, "it cites '[0]', which is not in its list"),
        ("It is so [1].", ("javascript:alert(1)",), 1, "a citation has no web address"),
        ("It is so [1].", ("https://",), 1, "a citation has no web address"),
        ("It is so [1].", ("https://[broken",), 1, "a citation has no web address"),
        ("`[9]` in code is no mark.", ("https://example.com/a",), 1, ""),
    ],
)
def test_every_mark_has_a_citation_with_a_web_address(
    text: str, urls: tuple[str, ...], minimum: int, said: str
) -> None:
    result = found(Subject("t", text, urls=urls), type="citations_valid", minimum=minimum)

    assert (result.passed, result.message) == (not said, said)


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        (f"Use {KEY} for it.", "model key"),
        ("AKIA" + "ABCDEFGH12345678", "AWS access key"),
        ("-----BEGIN RSA PRIVATE KEY-----", "private key"),
        ("tvly-" + "x" * 20, "search key"),
        ("ghp_" + "a" * 36, "GitHub token"),
        ("xoxb-" + "1234567890-abc", "Slack token"),
        ("mongodb://user:hunter2@db.example.com/x", "password in a URL"),
        (f"Bearer eyJ{'a' * 20}.eyJ{'b' * 20}.{'c' * 20}", "web token"),
    ],
)
def test_what_looks_like_a_secret_is_found_wherever_it_is_and_never_told(text: str, kind: str) -> None:
    places = [
        Subject("t", text),
        Subject("t", "", data={"a": [text]}),
        Subject("t", "", files=(SubjectFile("a", text),)),
    ]

    for subject in places:
        result = found(subject, type="no_secrets")
        assert not result.passed
        assert kind in result.message
        assert text not in result.message


@pytest.mark.parametrize("text", ["Ask your-own-risk-manager.", "https://example.com:8080/a@b", "sk-short", ENGLISH])
def test_ordinary_words_are_no_secrets(text: str) -> None:
    assert found(text, type="no_secrets").passed


@pytest.mark.parametrize("piece", ["-eyJ", "eyJaaaaaaaaaa.", "a.a+", "sk-a ", "://a:b", "xoxb-"])
def test_no_text_keeps_the_search_for_secrets_busy(piece: str) -> None:
    text = piece * (400_000 // len(piece))
    began = time.process_time()

    found(text, type="no_secrets")

    assert time.process_time() - began < 2


def test_many_things_that_are_wrong_are_told_in_part() -> None:
    result = found("nothing", type="required", texts=[f"text {number}" for number in range(9)])

    assert result.message.endswith("'text 4' and 4 more")


def test_the_names_of_checks_are_those_that_a_request_may_give() -> None:
    assert {"length", "no_secrets", "code_parses", "evaluator"} < BUILT_IN_CHECKS


@pytest.mark.parametrize(
    "wanted",
    [
        {"type": "length", "min_words": -1},
        {"type": "language", "expected": ["english"]},
        {"type": "forbidden", "texts": [" "]},
        {"type": "forbidden", "texts": ["a"], "weight": 0},
        {"type": "no_secrets", "weight": float("nan")},
        {"type": "no_secrets", "extra": 1},
        {"type": "json_schema", "schema": {"description": "x" * 5000}},
    ],
)
def test_a_check_that_is_none_is_refused(wanted: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        CHECK.validate_python(wanted)
