"""A value that satisfies a JSON schema, for structured calls the simulator has no opinion on."""

from collections.abc import Mapping
from typing import Any

_DEEPEST = 8


def example_of(schema: Mapping[str, Any]) -> Any:
    """Deterministic and small: the first choice, the least number, one element."""
    return _example(schema, schema, 0)


def _example(schema: Mapping[str, Any], root: Mapping[str, Any], depth: int) -> Any:
    schema = _resolved(schema, root)
    if "const" in schema:
        return schema["const"]
    if schema.get("enum"):
        return schema["enum"][0]
    kind = schema.get("type", "object" if "properties" in schema else "string")
    kind = kind[0] if isinstance(kind, list) else kind
    match kind:
        case "object":
            return _object(schema, root, depth)
        case "array":
            return [] if depth > _DEEPEST else [_example(schema.get("items", {}), root, depth + 1)]
        case "integer" | "number":
            return schema.get("minimum", 0)
        case "boolean" | "null":
            return None if kind == "null" else True
        case _:
            return "simulated"


def _object(schema: Mapping[str, Any], root: Mapping[str, Any], depth: int) -> dict[str, Any]:
    if depth > _DEEPEST:
        return {}
    return {name: _example(part, root, depth + 1) for name, part in schema.get("properties", {}).items()}


def _resolved(schema: Mapping[str, Any], root: Mapping[str, Any]) -> Mapping[str, Any]:
    for name in ("anyOf", "oneOf", "allOf"):
        if schema.get(name):
            return _resolved(schema[name][0], root)
    reference = schema.get("$ref", "")
    if not reference.startswith("#/"):
        return schema
    target: Any = root
    for step in reference[2:].split("/"):
        target = target[step]
    return _resolved(target, root)
