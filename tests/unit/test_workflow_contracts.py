"""Contracts: the short form of JSON Schema, what fits it, and what can be known of it without a value."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from pydantic import ValidationError

from app.contracts import (
    Contract,
    Contracts,
    json_schema_of,
    object_schema_of,
    path_exists,
    schema_at,
    types_at,
    violations,
    with_defaults,
)

SCALARS = st.sampled_from(["string", "integer", "number", "boolean", "any"])
ANSWER = {
    "type": "object",
    "properties": {
        "label": {"type": "string", "enum": ["good", "bad"]},
        "scores": {"type": "array", "items": {"type": "number", "minimum": 0, "maximum": 1}},
        "note": {"type": "string", "nullable": True, "optional": True},
        "more": {"type": "object"},
    },
}
SHAPE = {
    "discriminator": "kind",
    "one_of": [
        {"type": "object", "properties": {"kind": {"const": "circle"}, "radius": {"type": "number"}}},
        {"type": "object", "properties": {"kind": {"const": "square"}, "side": {"type": "number"}}},
    ],
}


def contract(written: dict[str, Any]) -> Contract:
    return Contract.model_validate(written)


def contracts(written: dict[str, dict[str, Any]]) -> Contracts:
    return {name: contract(one) for name, one in written.items()}


def fits(written: dict[str, Any], value: Any) -> bool:
    return not violations(json_schema_of(contract(written)), value)


@pytest.mark.parametrize(
    ("written", "good", "bad"),
    [
        ({"type": "string", "min_length": 1, "max_length": 3}, "abc", "abcd"),
        ({"type": "string", "enum": ["a", "b"]}, "a", "c"),
        ({"type": "string", "enum": ["a"], "nullable": True}, None, "b"),
        ({"type": "string", "nullable": True}, None, 1),
        ({"type": "string"}, "", None),
        ({"type": "integer", "minimum": 1}, 1, 0),
        ({"type": "integer"}, 2, 2.5),
        ({"type": "integer"}, 2, True),
        ({"const": 5}, 5, 6),
        ({"type": "boolean"}, True, "true"),
        ({"type": "array", "items": {"type": "integer"}, "min_items": 1, "max_items": 2}, [1], ["1"]),
        ({"type": "array", "max_items": 2}, [1, None], [1, 2, 3]),
        ({"type": "object"}, {"any": 1}, []),
        ({"type": "object", "properties": {"a": {"type": "any"}}, "additional": False}, {"a": None}, {"a": 1, "b": 2}),
        (ANSWER, {"label": "good", "scores": [], "more": {}, "other": 1}, {"label": "good", "scores": [2], "more": {}}),
        (SHAPE, {"kind": "square", "side": 2}, {"kind": "square", "radius": 2}),
    ],
    ids=str,
)
def test_a_value_fits_or_does_not(written: dict[str, Any], good: Any, bad: Any) -> None:
    assert fits(written, good)
    assert not fits(written, bad)


def test_violations_name_place_and_rule_and_never_a_value() -> None:
    value = {"label": "secret", "scores": [0.5, 7]}

    assert violations(json_schema_of(contract(ANSWER)), value) == [
        "label (enum)",
        "scores.1 (maximum)",
        "more (missing)",
    ]


def test_the_inputs_of_a_workflow_are_closed_when_it_says_so() -> None:
    inputs = contracts({"text": {"type": "string"}, "limit": {"type": "integer", "default": 3}})

    assert violations(object_schema_of(inputs), {"text": "x", "other": 1}) == []
    assert violations(object_schema_of(inputs, closed=True), {"text": "x", "other": 1}) != []
    assert violations(object_schema_of(inputs, closed=True), {}) == ["text (missing)"]


def test_defaults_are_filled_in_at_every_depth() -> None:
    retry = {"type": "object", "properties": {"times": {"type": "integer", "default": 2}, "why": {"type": "string"}}}
    inputs = contracts({"a": {"type": "array", "items": retry}, "b": {"type": "any", "default": None}})

    filled = with_defaults(inputs, {"a": [{"why": "x"}, {"times": 5}], "c": 1})

    assert filled == {"a": [{"why": "x", "times": 2}, {"times": 5}], "b": None, "c": 1}


def test_a_large_list_is_checked_to_its_end() -> None:
    schema = json_schema_of(contract({"type": "array", "items": ANSWER}))
    values: list[dict[str, Any]] = [{"label": "good", "scores": [1], "more": {}} for _ in range(5_000)]

    assert violations(schema, values) == []
    assert violations(schema, [*values, {}]) == ["5000.label (missing), 5000.scores (missing), 5000.more (missing)"]


@pytest.mark.parametrize(
    ("path", "types"),
    [
        (("label",), {"string"}),
        (("scores",), {"array"}),
        (("scores", 3), {"number"}),
        (("note",), {"string", "null"}),
        (("more", "whatever", 3), set()),
        (("labl",), None),
        (("label", "length"), None),
        (("scores", "first"), None),
        (("scores", 0, "x"), None),
        ((0,), None),
    ],
    # Sets have another order in each process, and names of tests may not.
    ids=lambda value: str(sorted(value) if isinstance(value, set) else value),
)
def test_what_is_at_a_path_is_known_without_a_value(path: tuple[str | int, ...], types: set[str] | None) -> None:
    schema = json_schema_of(contract(ANSWER))

    assert path_exists(schema, path) == (types is not None)
    assert types_at(schema, path) == (types or set())


def test_a_variant_s_members_are_there_in_some_case() -> None:
    schema = json_schema_of(contract(SHAPE))

    assert types_at(schema, ("kind",)) == {"string"}
    assert types_at(schema, ("radius",)) == {"number"}
    assert schema_at(schema, ("height",)) is None


@pytest.mark.parametrize(
    ("written", "told"),
    [
        ({}, "give a type"),
        ({"type": "text"}, "Input should be"),
        ({"type": "string", "minimum": 1}, "minimum belongs to type integer or number"),
        ({"type": "array", "properties": {}}, "properties belongs to type object"),
        ({"type": "integer", "minimum": 3, "maximum": 2}, "minimum is more than maximum"),
        ({"type": "integer", "enum": ["1"]}, "a value of enum or const is no integer"),
        ({"type": "integer", "default": "1"}, "the default does not fit: value"),
        ({"type": "string", "one_of": [{"type": "string"}]}, "either type or one_of"),
        ({**SHAPE, "discriminator": "side"}, "needs a property 'side'"),
        ({"type": "object", "properties": {"a-b": {"type": "any"}}}, "should match pattern"),
        ({"type": "string", "pattern": "(a+)+$"}, "Extra inputs"),
    ],
    ids=str,
)
def test_a_contract_that_makes_no_sense_is_refused(written: dict[str, Any], told: str) -> None:
    with pytest.raises(ValidationError, match=told):
        contract(written)


@given(SCALARS, st.booleans(), st.none() | st.booleans() | st.integers(-9, 9) | st.floats(-2, 2) | st.text(max_size=3))
def test_what_does_not_fit_by_the_library_does_not_fit_here(kind: str, nullable: bool, value: Any) -> None:
    schema = json_schema_of(contract({"type": kind, "nullable": nullable}))

    Draft202012Validator.check_schema(schema)
    assert Draft202012Validator(schema).is_valid(value) == (not violations(schema, value))
    assert not Draft202012Validator(schema).is_valid(None) or nullable or kind == "any"
