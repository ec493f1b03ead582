"""What conditions, loops, fan-outs and switches make of the values of their expressions."""

import json
from typing import Any

from app.errors import OrchestratorError
from app.workflows.view import ExpressionFailed, Values, View

MOST_ITEMS = 100_000
_KINDS = {dict: "an object", list: "a list", str: "a text", bool: "true or false", int: "a number", float: "a number"}


class Exhausted(OrchestratorError):
    code = "LOOP_EXHAUSTED"
    title = "Loop exhausted"


def is_true(values: Values, expression: str, view: View) -> bool:
    """Raises `ExpressionFailed`, also for what is neither true nor false."""
    found = values.evaluate(expression, view)
    if not isinstance(found, bool):
        raise ExpressionFailed(f"`{expression[:80]}` is {_kind(found)}, and must be true or false")
    return found


def items_of(value: Any) -> list[Any]:
    if not isinstance(value, list):
        raise ExpressionFailed(f"for_each needs a list, and its value is {_kind(value)}")
    if len(value) > MOST_ITEMS:
        raise ExpressionFailed(f"for_each has {len(value)} items, and at most {MOST_ITEMS} are taken")
    return value


def case_of(value: Any) -> str:
    """The name of the case that a value chooses. Numbers of JSON know no difference between 1 and 1.0."""
    if isinstance(value, str):
        return value
    if value is None or isinstance(value, bool | int):
        return json.dumps(value)
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    raise ExpressionFailed(f"a switch needs a text, a whole number, true, false or null, not {_kind(value)}")


def _kind(value: Any) -> str:
    return _KINDS.get(type(value), "null")
