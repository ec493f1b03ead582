"""JSON as we accept it: UTF-8, unambiguous, and nothing that a store or another parser could not hold."""

import json
import math
import re
from collections.abc import Iterable
from typing import Any

from app.errors import Invalid

_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]")
_MIN_INTEGER, _MAX_INTEGER = -(2**63), 2**63 - 1


class MalformedJson(Invalid):
    """The body is no JSON, or JSON that means different things to different readers."""

    def __init__(self, message: str) -> None:
        super().__init__(message, field="body", type="json_invalid")


def check_json(text: bytes, *, max_depth: int) -> None:
    """Raise `MalformedJson` that says what is wrong and where, without repeating the text."""
    try:
        value = json.loads(
            text.decode("utf-8"),
            object_pairs_hook=_unique,
            parse_constant=_no_constant,
            parse_float=_finite,
            parse_int=_storable,
        )
    except UnicodeDecodeError as error:
        raise MalformedJson(f"the body is not UTF-8 at byte {error.start}") from None
    except json.JSONDecodeError as error:
        raise MalformedJson(
            f"the body is not valid JSON: {error.msg} at line {error.lineno} column {error.colno}"
        ) from None
    except RecursionError:
        raise _too_deep(max_depth) from None
    # Without escapes the decoding above has proved that the text is clean.
    if _SURROGATE.search(text):
        _check_characters(value)
    _check_depth(value, max_depth)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise MalformedJson("an object in the body names a member twice")
    return members


def _no_constant(_name: str) -> None:
    raise MalformedJson("NaN and Infinity are not JSON; use null or a string")


def _finite(digits: str) -> float:
    value = float(digits)
    if not math.isfinite(value):
        raise MalformedJson("a number in the body is too large; use a string")
    return value


def _storable(digits: str) -> int:
    # Measured before it is converted: Python refuses very long integers with an error of its own.
    value = int(digits) if len(digits) <= 20 else _MAX_INTEGER + 1
    if not _MIN_INTEGER <= value <= _MAX_INTEGER:
        raise MalformedJson("an integer in the body does not fit 64 bits; use a string")
    return value


def _check_characters(value: Any) -> None:
    try:
        json.dumps(value, ensure_ascii=False).encode("utf-8")
    except UnicodeEncodeError:
        raise MalformedJson("a string in the body has half of a surrogate pair") from None


def _check_depth(value: Any, max_depth: int) -> None:
    level = [value]
    for _ in range(max_depth):
        level = [child for node in level for child in _children(node) if isinstance(child, dict | list)]
        if not level:
            return
    raise _too_deep(max_depth)


def _children(node: Any) -> Iterable[Any]:
    if isinstance(node, dict):
        return node.values()
    return node if isinstance(node, list) else ()


def _too_deep(max_depth: int) -> MalformedJson:
    return MalformedJson(f"the body is nested deeper than {max_depth} levels")
