"""The keys that a document of a model may have, for naming the one that was meant."""

import functools
from collections.abc import Iterator
from typing import Any

from pydantic import BaseModel

from app.source_tree import Path


@functools.cache
def schema_of(model: type[BaseModel]) -> dict[str, Any]:
    return model.model_json_schema(by_alias=True)


def keys_at(model: type[BaseModel], path: Path) -> list[str]:
    """The keys that a document may have at ``path``; empty where it names its own."""
    root = schema_of(model)
    found = [root]
    for step in path:
        found = [child for schema in found for child in _children(_plain(schema, root), step)]
    alternatives = [one for schema in found for one in _plain(schema, root)]
    return list(dict.fromkeys(key for one in alternatives for key in one.get("properties", {})))


def _plain(schema: dict[str, Any], root: dict[str, Any]) -> list[dict[str, Any]]:
    """What it is, or may be, without references."""
    if reference := schema.get("$ref"):
        return _plain(root["$defs"][reference.rpartition("/")[2]], root)
    variants = schema.get("anyOf") or schema.get("oneOf") or []
    return [one for variant in variants for one in _plain(variant, root)] or [schema]


def _children(schemas: list[dict[str, Any]], step: str | int) -> Iterator[dict[str, Any]]:
    for schema in schemas:
        if isinstance(step, int):
            child = schema.get("items")
        else:
            child = schema.get("properties", {}).get(step, schema.get("additionalProperties"))
            named = schema.get("patternProperties", {})
            child = child if isinstance(child, dict) else next(iter(named.values()), None)
        if isinstance(child, dict):
            yield child
