"""The part of JSON Schema that describes what is to be extracted: bounded, and without anything that can run away."""

import re
from collections.abc import Mapping
from typing import Any

DEEPEST = 4
MOST_FIELDS = 60
LARGEST = 8192
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_-]{0,63}")
_TYPES = {"string", "number", "integer", "boolean", "null", "object", "array"}
# `pattern` is left out: the expression is the caller's, and Python's engine can be kept busy for ever.
_ANNOTATIONS = {"title": str, "description": str}
_KEYWORDS: Mapping[str, Mapping[str, type | tuple[type, ...]]] = {
    "string": {"minLength": int, "maxLength": int},
    "number": {"minimum": (int, float), "maximum": (int, float)},
    "integer": {"minimum": (int, float), "maximum": (int, float)},
    "array": {"items": dict, "minItems": int, "maxItems": int},
    "object": {"properties": dict, "required": list, "additionalProperties": bool},
}


def check_field_schema(schema: dict[str, Any]) -> dict[str, Any]:
    """The schema, closed: objects take no member they do not describe. Raises `ValueError` that names the place."""
    if schema.get("type") != "object":
        raise ValueError('a schema describes an object: write {"type": "object", "properties": {…}}')
    closed = _closed(schema, "schema", depth=1)
    # What is closed passes again: it is checked a second time when a later node reads it.
    if len(repr(closed)) > LARGEST:
        raise ValueError(f"a schema has at most {LARGEST} characters")
    if _count(closed) > MOST_FIELDS:
        raise ValueError(f"a schema has at most {MOST_FIELDS} fields")
    return closed


def _closed(schema: Any, where: str, *, depth: int) -> dict[str, Any]:
    if not isinstance(schema, dict):
        raise ValueError(f"{where}: a schema is an object")
    if depth > DEEPEST:
        raise ValueError(f"{where}: a schema is at most {DEEPEST} levels deep")
    types = _types(schema, where)
    _check_keywords(schema, types, where)
    closed = dict(schema)
    if "array" in types:
        closed["items"] = _closed(schema.get("items"), f"{where}.items", depth=depth + 1)
    if "object" in types:
        closed["properties"] = _properties(schema, where, depth)
        closed["additionalProperties"] = False
    return closed


def _types(schema: Mapping[str, Any], where: str) -> list[str]:
    named = schema.get("type", "string" if "enum" in schema else None)
    types = named if isinstance(named, list) else [named]
    if not types or any(not isinstance(one, str) or one not in _TYPES for one in types):
        raise ValueError(f"{where}.type: name one of {', '.join(sorted(_TYPES))}")
    return types


def _check_keywords(schema: Mapping[str, Any], types: list[str], where: str) -> None:
    known: dict[str, type | tuple[type, ...]] = {"type": (str, list), "enum": list, **_ANNOTATIONS}
    for one in types:
        known |= _KEYWORDS.get(one, {})
    for keyword, value in schema.items():
        if keyword not in known:
            raise ValueError(f"{where}: {keyword[:40]!r} is not understood; use {', '.join(known)}")
        if not isinstance(value, known[keyword]):
            raise ValueError(f"{where}.{keyword}: this value is of the wrong type")
    if not all(one is None or isinstance(one, str | int | float | bool) for one in schema.get("enum", ["any"])):
        raise ValueError(f"{where}.enum: list strings, numbers, booleans or null")
    if schema.get("enum") == []:
        raise ValueError(f"{where}.enum: list at least one value")


def _properties(schema: Mapping[str, Any], where: str, depth: int) -> dict[str, Any]:
    properties = schema.get("properties") or {}
    if not properties:
        raise ValueError(f"{where}.properties: describe at least one field")
    for name in properties:
        if not _NAME.fullmatch(name):
            raise ValueError(f"{where}.properties: name fields with letters, digits, `_` and `-`, not {name[:40]!r}")
    for name in schema.get("required", ()):
        if not isinstance(name, str) or name not in properties:
            raise ValueError(f"{where}.required: {str(name)[:40]!r} is not among the properties")
    return {name: _closed(part, f"{where}.{name}", depth=depth + 1) for name, part in properties.items()}


def _count(schema: Mapping[str, Any]) -> int:
    properties = schema.get("properties", {})
    within = sum(1 + _count(part) for part in properties.values())
    return within + (_count(schema["items"]) if "items" in schema else 0)
