"""Expressions: values in, values out, and nothing that takes long, grows large or gives a value away."""

import contextlib
import json
import time
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.expressions.compiling import ExpressionInvalid
from app.expressions.lexis import LONGEST_EXPRESSION
from app.expressions.references import references_of
from app.workflows.language.compiling import check_expression, compile_expression, parse, references_in
from app.workflows.language.expressions import LARGEST_DATA, LARGEST_RESULT, Expressions
from app.workflows.planner import End
from app.workflows.view import Ended, ExpressionFailed, Fault, View

SECRET = "tiger-in-the-tank"
EXPRESSIONS = Expressions()


def view(steps: Mapping[str, Ended] | None = None, /, **inputs: Any) -> View:
    constants = {"inputs": inputs, "vars": {"limit": 3}, "run": {"id": "e1", "trace_id": None, "tenant": "acme"}}
    return View(constants, steps=dict(steps or {}))


def evaluate(expression: str, seen: View | None = None) -> Any:
    return EXPRESSIONS.evaluate(expression, seen or view())


def failure_of(expression: str, seen: View | None = None) -> str:
    with pytest.raises(ExpressionFailed) as caught:
        evaluate(expression, seen)
    return caught.value.message


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ("1 + 2", 3),
        ("inputs.names.filter(n, n.startsWith('a')).map(n, n.upperAscii())", ["ADA"]),
        ("size(inputs.names) > vars.limit", False),
        ("{'b': 1, 'a': [true, null, 1.5]}", {"a": [True, None, 1.5], "b": 1}),
        ("inputs.?missing.orValue('none')", "none"),
        ("has(inputs.missing)", False),
        ("math.greatest(1, inputs.count)", 2),
        ("inputs.count == 2.0", True),
        ("'{' + string(inputs.count) + '}' // a comment", "{2}"),
        ("run.tenant", "acme"),
    ],
)
def test_an_expression_gives_plain_json(expression: str, value: Any) -> None:
    found = evaluate(expression, view(names=["ada", "bob"], count=2))

    assert found == value
    assert json.loads(json.dumps(found)) == found


def test_a_step_shows_its_output_status_error_and_attempts() -> None:
    failed = Ended(End.FAILED, None, Fault("TIMEOUT", "too late", "a.b"), attempts=3)
    seen = view({"a": failed, "b": Ended(End.SUCCEEDED, {"score": 0.5})})

    assert evaluate("steps.a.status + ' ' + steps.a.error.type + ' ' + string(steps.a.attempts)", seen) == (
        "failed TIMEOUT 3"
    )
    assert evaluate("steps.b.output.score >= 0.5 && steps.b.error == null", seen) is True


@pytest.mark.parametrize("name", ["loop", "item", "row"])
def test_a_repetition_is_seen_by_its_names(name: str) -> None:
    seen = view().within(loop={"n": 1}, item={"n": 1}, row={"n": 1})

    assert evaluate(f"{name}.n + 1", seen) == 2
    assert evaluate(f"{name}.n", seen) == 1
    assert evaluate(f"'{name}' + string({name}.n)", seen) == f"{name}1"


def test_a_member_that_is_called_loop_is_not_the_loop() -> None:
    assert evaluate("inputs.loop + inputs.?loop.orValue(0)", view(loop=2)) == 4


@pytest.mark.parametrize("end", [End.SKIPPED, End.BLOCKED, End.FAILED])
def test_everything_below_the_output_of_a_step_that_gave_none_is_null(end: End) -> None:
    seen = view({"a": Ended(end)})

    assert evaluate("steps.a.output.summary", seen) is None
    assert evaluate("steps.a.output.summary.text == null", seen) is True
    assert evaluate("steps.a.output == null ? 'none' : steps.a.output.summary", seen) == "none"
    assert evaluate("has(steps.a.output.summary) ? steps.a.output.summary : 'none'", seen) == "none"
    assert evaluate("steps.a.output.?summary.orValue('none')", seen) == "none"


def test_the_round_before_the_first_is_null_with_all_its_members() -> None:
    seen = view().within(loop={"iteration": 1, "previous": None})

    assert evaluate("loop.previous.review.score", seen) is None
    assert evaluate("loop.iteration == 1 ? 'first' : loop.previous.review.score", seen) == "first"


@pytest.mark.parametrize(
    ("expression", "named"),
    [
        ("inputs.nope", "`inputs.nope` is not there"),
        ("inputs.nope == 1", "`inputs.nope` is not there"),
        ("inputs.text.length", "`inputs.text` is a text"),
        ("inputs.items[7] + 1", "`inputs.items[7]` is not there: `inputs.items` is a list of 1"),
        ("steps.later.output.x", "`steps.later` has no value"),
        ("vars.limit > 1 && inputs.object.deep.deeper > 1", "`inputs.object.deep` is not there"),
        ("nope + 1", "undeclared reference to 'nope'"),
        ("steps", "name the step"),
        ("steps[inputs.text].output", "name the step"),
    ],
)
def test_an_undefined_reference_is_an_error_that_names_it(expression: str, named: str) -> None:
    message = failure_of(expression, view(text=SECRET, items=[SECRET], object={SECRET: 1}))

    assert named in message
    assert SECRET not in message


@pytest.mark.parametrize(
    "expression",
    [
        "int(inputs.secret) + 1",
        "inputs.map[inputs.secret] == 1",
        "timestamp(inputs.secret) == timestamp(inputs.secret)",
        "inputs.secret + 1",
        "inputs.secret ? 1 : 2",
        "inputs.secret.matches('[' + inputs.secret)",
        "inputs.items[inputs.large] == 1",
        "inputs.secret.substring(500)",
        "1 / (inputs.large - inputs.large)",
    ],
)
def test_an_error_never_tells_a_value(expression: str) -> None:
    message = failure_of(expression, view(secret=SECRET, map={"other": 1}, items=[1], large=987654321))

    assert SECRET not in message
    assert "987654321" not in message


@pytest.mark.parametrize(
    ("expression", "reason"),
    [
        ("1.0 / 0.0", "infinity"),
        ("timestamp('2030-01-01T00:00:00Z')", "a time"),
        ("b'abc'", "bytes"),
        ("[duration('1h')]", "a duration"),
        ("{1: 2}", "no texts"),
        ("inputs.?a", "optional"),
        ("inputs.huge + 1", "64 bits"),
        ("inputs.zero + 'x'", "U+0000"),
        ("inputs.torn + 'x'", "not plain JSON"),
        ("inputs.nan > 1.0", "not plain JSON"),
        ("9223372036854775807 + inputs.one", "too large"),
        ("inputs.object.map(k, k)", "no order"),
    ],
)
def test_what_json_or_cel_do_not_have_is_refused_with_a_reason(expression: str, reason: str) -> None:
    seen = view(huge=2**63, zero="a\0b", torn="\ud800", nan=float("nan"), one=1, object={"a": 1})

    assert reason in failure_of(expression, seen)


def test_what_is_only_named_is_handed_on_as_it_is() -> None:
    items = [{"text": "x" * 100}] * (LARGEST_DATA // 100)

    assert evaluate("inputs.items", view(items=items)) is items


@pytest.mark.parametrize(
    "expression",
    [
        'inputs.text.replace("x", inputs.text).size() > 0',
        "inputs.list.map(i, inputs.text).size() > 0",
        "inputs.list.map(i, inputs.list.map(j, inputs.list)).size() > 0",
        "inputs.list.all(i, inputs.list.all(j, inputs.list.all(k, k >= 0)))",
        "inputs.list.map(i, inputs.list).map(l, l + l + l + l + l + l).size() > 0",
        "inputs.text.split('').map(c, inputs.text).join(inputs.text).size() > 0",
        "inputs.text.split('').filter(c, c != 'y').size() > 0",
        "[inputs.text].map(x, x + x + x + x).map(x, x + x + x + x).map(x, x.replace('x', x)).size() > 0",
        "inputs.text.split('').map(c, inputs.text.replace(c, inputs.text)).size() > 0",
        "inputs.text.matches('(x+x+)+y') && inputs.list.all(i, inputs.text.matches('(x+x+)+y' + string(i)))",
    ],
)
def test_an_expression_bomb_is_refused_or_done_in_a_moment(expression: str) -> None:
    with_bomb = view(text="x" * 100_000, list=list(range(2000)))
    begun = time.process_time()

    with contextlib.suppress(ExpressionFailed):
        assert evaluate(expression, with_bomb) in (True, False)

    # Refused or not, far from the minutes and gigabytes that these can take.
    assert time.process_time() - begun < 5


def test_a_bomb_that_needs_no_values_is_refused_when_it_is_checked() -> None:
    doubled = " + ".join(["x"] * 20)
    bomb = f'["{"a" * 500}"]' + f".map(x, {doubled})" * 4

    with pytest.raises(ExpressionInvalid, match="too much"):
        check_expression(bomb)


@pytest.mark.parametrize(
    ("expression", "reason"),
    [
        ("1" + " " * LONGEST_EXPRESSION, "2000 are allowed"),
        ("+".join(["1"] * 100), "nested too deeply"),
        ("(" * 40 + "1" + ")" * 40, "nested too deeply"),
        ("[1]" + ".map(x, [x])" * 5, "4 are allowed"),
        ("1 +", "at character 4"),
        ("'torn \ud800'", "cannot be in a text"),
        ("inputs.x.nosuch()", "nosuch"),
    ],
)
def test_what_is_no_expression_or_too_large_is_refused(expression: str, reason: str) -> None:
    with pytest.raises(ExpressionInvalid, match=reason):
        check_expression(expression)


def test_results_and_data_have_a_largest_size() -> None:
    assert "bytes" in failure_of("inputs.text + inputs.text", view(text="x" * (LARGEST_RESULT // 2)))
    assert "computes with more than" in failure_of("inputs.text + 'x'", view(text="x" * LARGEST_DATA))


def test_lists_of_hundreds_of_objects_are_filtered_and_mapped() -> None:
    items = [{"id": n, "name": "n" * 50, "score": n / 1000} for n in range(1000)]

    found = evaluate("inputs.items.filter(i, i.score >= 0.99).map(i, {'id': i.id, 'name': i.name})", view(items=items))

    assert [one["id"] for one in found] == list(range(990, 1000))


def test_lists_within_lists_are_mapped() -> None:
    orders = [{"lines": [{"price": place} for place in range(5)]} for _ in range(50)]

    assert evaluate("inputs.orders.map(o, o.lines.map(l, l.price))", view(orders=orders)) == [[0, 1, 2, 3, 4]] * 50


@pytest.mark.parametrize(
    ("expression", "paths"),
    [
        ("steps.a.output.x", [("steps", "a", "output", "x")]),
        ("steps['a'].output[0].x", [("steps", "a", "output", 0, "x")]),
        ("'steps.a.output' + inputs.b // inputs.c", [("inputs", "b")]),
        ("inputs.l.map(steps, steps.a + inputs.b)", [("inputs", "l"), ("inputs", "b")]),
        ("has(inputs.a.b) || inputs.?c.d == 1", [("inputs", "a", "b"), ("inputs", "c", "d")]),
        ("inputs.m[inputs.k].x", [("inputs", "m"), ("inputs", "k")]),
        ("loop.iteration + item.loop", [("loop", "iteration"), ("item", "loop")]),
        ("math.greatest(inputs.a, 2) + strings.quote(inputs.b).size()", [("inputs", "a"), ("inputs", "b")]),
        ("r'inputs.no\\d' + inputs.a", [("inputs", "a")]),
    ],
)
def test_references_are_those_of_the_expression_itself(expression: str, paths: list[tuple[str | int, ...]]) -> None:
    assert references_in(expression) == paths


def test_a_reference_knows_its_place_in_the_text() -> None:
    source = "loop.iteration > 1 && inputs.a == 2"

    assert [source[one.place :].split()[0] for one in references_of(parse(source))] == ["loop.iteration", "inputs.a"]


def test_the_types_of_calls_are_those_of_the_library() -> None:
    types = {
        source: getattr(compile_expression(source).tree, "type", None) for source in ("inputs.a == 1", "size('x')")
    }

    assert types == {"inputs.a == 1": "boolean", "size('x')": "integer"}


@given(st.text(max_size=80))
@settings(max_examples=150)
def test_any_text_is_an_expression_or_refused(source: str) -> None:
    with contextlib.suppress(ExpressionInvalid):
        assert check_expression(source).source == source


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text("abc", max_size=3), inner, max_size=4),
    max_leaves=15,
)


@given(json_values)
@settings(max_examples=100)
def test_a_value_goes_through_cel_unchanged(value: Any) -> None:
    assert evaluate("[inputs.value][0]", view(value=value)) == value
