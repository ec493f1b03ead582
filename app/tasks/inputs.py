"""The typed input of a task: bounded and checked when it is handed in, stored as text."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from typing import Any

from app.agents.contracts import problems_of, told
from app.agents.specs import AgentSpec
from app.errors import Invalid

DEEPEST = 16
# The store holds documents of at most 16 MiB, and a task's answer and runs have to fit beside its input.
LARGEST = 4 * 1024 * 1024


def check_bounds(inputs: dict[str, Any]) -> dict[str, Any]:
    """Raises `ValueError` for input that is too large or too deep, or that has a name nobody could write."""
    size = len(json.dumps(inputs).encode())
    if size > LARGEST:
        raise ValueError(f"the input has {size} bytes as JSON; at most {LARGEST} are accepted")
    level: list[Any] = [inputs]
    for _ in range(DEEPEST):
        if any("\x00" in name for node in level if isinstance(node, dict) for name in node):
            raise ValueError("a name in the input has a null character")
        level = [child for node in level for child in _children(node) if isinstance(child, dict | list)]
        if not level:
            return inputs
    raise ValueError(f"the input is nested deeper than {DEEPEST} levels")


def check_submitted(spec: AgentSpec, inputs: Mapping[str, Any]) -> None:
    """Raises `Invalid` that lists each member the named agent cannot take."""
    problems = problems_of(spec, inputs)
    if problems:
        fields = [{**asdict(one), "location": "body"} for one in problems]
        raise Invalid(told(problems), fields=fields)


def as_stored(inputs: Mapping[str, Any]) -> str | None:
    """As text: the driver gives names such as `$ref` a meaning of their own."""
    return json.dumps(inputs) if inputs else None


def read_inputs(task: Mapping[str, Any]) -> dict[str, Any]:
    """The input of a stored task; empty when it has none, or when an older version stored it."""
    stored = task.get("inputs")
    found: dict[str, Any] = json.loads(stored) if stored else {}
    return found


def _children(node: Any) -> Iterable[Any]:
    return node.values() if isinstance(node, dict) else node
