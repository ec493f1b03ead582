"""`${{ }}` in texts."""

import contextlib
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.workflows.language.expressions import Expressions
from app.workflows.language.templates import MOST_EXPRESSIONS, TemplateInvalid, parse_template, templates_in
from app.workflows.view import ExpressionFailed, View

SEEN = View({"inputs": {"n": 4, "name": "Ada", "list": [1, 2], "none": None, "yes": True}, "vars": {}, "run": {}})


def render(template: Any) -> Any:
    return Expressions().render(template, SEEN)


@pytest.mark.parametrize(
    ("template", "value"),
    [
        ("${{ inputs.n }}", 4),
        ("${{ inputs.list }}\n", [1, 2]),
        ("${{ inputs.none }}", None),
        ("n: ${{ inputs.n }}, ${{ inputs.name }}, ${{ inputs.yes }}", "n: 4, Ada, true"),
        ("${{ inputs.list }}${{ inputs.none }}", "[1,2]null"),
        ("${{ {'a': {'b': '}}'}} }}", {"a": {"b": "}}"}}),
        ("${{ {'é': 1} }} ", '{"é":1} '),
        ("a $${{ inputs.n }} b", "a ${{ inputs.n }} b"),
        ("$${{ ${{ inputs.n }} }}", "${{ 4 }}"),
        ("${{ '''}}''' + \"}}\" /* }}".replace("/* }}", "// }}\n}}"), "}}}}"),
        ("${{ r'\\d' + '\\'' }}", "\\d'"),
        ("no expression }} here {{ or $ there", "no expression }} here {{ or $ there"),
        ({"a": ["${{ inputs.n }}", 1, None], "${{ key }}": True}, {"a": [4, 1, None], "${{ key }}": True}),
    ],
)
def test_an_expression_that_is_the_whole_text_keeps_its_type_and_others_are_rendered(template: Any, value: Any) -> None:
    assert render(template) == value


@pytest.mark.parametrize(
    ("text", "column"),
    [("${{ inputs.n", 1), ("ab ${{ inputs.n }", 4), ("${{ {'a': 1 }}", 1), ("a ${{ }}", 3), ("${{ 'a }} ${{ b", 11)],
)
def test_what_is_not_closed_or_empty_is_refused_with_its_place(text: str, column: int) -> None:
    with pytest.raises(TemplateInvalid) as caught:
        parse_template(text)

    assert caught.value.details["column"] == column


def test_a_text_holds_only_so_many_expressions() -> None:
    assert len(parse_template("${{ 1 }}" * MOST_EXPRESSIONS).inserts) == MOST_EXPRESSIONS
    with pytest.raises(TemplateInvalid):
        parse_template("${{ 1 }} " * (2 * MOST_EXPRESSIONS + 2))


def test_an_undefined_reference_in_a_text_is_an_error_and_no_empty_text() -> None:
    with pytest.raises(ExpressionFailed, match=r"inputs\.nope"):
        render("Dear ${{ inputs.nope }}")


def test_expressions_are_found_with_their_place_in_a_value() -> None:
    value = {"a": ["x", {"b": "${{ inputs.n }}"}], "c": "${{ 1 }} and ${{ 2 }}"}

    assert list(templates_in(value)) == [(("a", 1, "b"), "${{ inputs.n }}"), (("c",), "${{ 1 }} and ${{ 2 }}")]


@given(st.text("${}'\"ab \\/\n", max_size=60))
@settings(max_examples=200)
def test_a_text_without_an_opening_stays_and_every_other_is_parsed_or_refused(text: str) -> None:
    if "${{" in text:
        with contextlib.suppress(TemplateInvalid):
            assert parse_template(text).inserts or "$${{" in text
        return

    assert "".join(str(part) for part in parse_template(text).parts) == text


@given(st.text(max_size=40))
@settings(max_examples=100)
def test_an_escaped_text_is_rendered_as_it_was(text: str) -> None:
    assert render(text.replace("${{", "$${{")) == text
