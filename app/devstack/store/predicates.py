"""The query operators that look at the values of one path: each compiles its operand into a test.

A test gets what :func:`paths.leaves` found, so it decides for arrays and for missing fields as well.
"""

import re
from collections.abc import Callable, Iterator
from datetime import datetime
from operator import ge, gt, le, lt
from typing import Any

from bson import Binary, Decimal128, Int64, ObjectId, Timestamp
from bson.regex import Regex

from app.devstack.store.errors import BadValue, NotSupported
from app.devstack.store.ordering import MISSING, Key, order_key

Test = Callable[[list[Any]], bool]

_INT32_BITS = 31

_REGEX_FLAGS = {"i": re.IGNORECASE, "m": re.MULTILINE, "s": re.DOTALL, "x": re.VERBOSE}


def expanded(values: list[Any]) -> Iterator[Any]:
    """The values, and the elements of those that are arrays."""
    for value in values:
        yield value
        if isinstance(value, list):
            yield from value


def equals(operand: Any) -> Test:
    key = order_key(operand)
    return lambda values: any(order_key(value) == key for value in expanded(values))


def matches_regex(pattern: Any, options: Any = "") -> Test:
    search = _compile(pattern, options).search
    regex = pattern if isinstance(pattern, Regex) else None

    def test(values: list[Any]) -> bool:
        return any(
            (isinstance(value, str) and search(value) is not None) or (regex is not None and value == regex)
            for value in expanded(values)
        )

    return test


def is_in(operand: Any) -> Test:
    if not isinstance(operand, list):
        raise BadValue("$in needs an array")
    keys = {order_key(item) for item in operand if not isinstance(item, Regex)}
    patterns = [matches_regex(item) for item in operand if isinstance(item, Regex)]

    def test(values: list[Any]) -> bool:
        if any(order_key(value) in keys for value in expanded(values)):
            return True
        return any(pattern(values) for pattern in patterns)

    return test


def negated(test: Test) -> Test:
    return lambda values: not test(values)


def _compared(compare: Callable[[Any, Any], bool]) -> Callable[[Any], Test]:
    def compile_operand(operand: Any) -> Test:
        rank, comparable = order_key(operand)

        def fits(key: Key) -> bool:
            # Only values of the same type compare: MongoDB's type bracketing.
            return bool(key[0] == rank) and compare(key[1], comparable)

        return lambda values: any(fits(order_key(value)) for value in expanded(values))

    return compile_operand


def _exists(operand: Any) -> Test:
    wanted = bool(operand)
    return lambda values: any(value is not MISSING for value in values) is wanted


def _size(operand: Any) -> Test:
    if not isinstance(operand, int) or operand < 0:
        raise BadValue("$size needs a non-negative integer")
    return lambda values: any(isinstance(value, list) and len(value) == operand for value in values)


def _modulo(operand: Any) -> Test:
    if not isinstance(operand, list) or len(operand) != 2 or not operand[0]:
        raise BadValue("$mod needs an array of a non-zero divisor and a remainder")
    divisor, remainder = operand
    return lambda values: any(_is_number(value) and value % divisor == remainder for value in expanded(values))


def _type(operand: Any) -> Test:
    names = operand if isinstance(operand, list) else [operand]
    checks = [_type_check(name) for name in names]
    return lambda values: any(check(value) for value in expanded(values) for check in checks)


def _type_check(name: Any) -> Callable[[Any], bool]:
    check = _TYPES.get(_TYPE_NUMBERS.get(name, name))
    if check is None:
        raise BadValue(f"unknown or unsupported type for $type: {name!r}")
    return check


def _compile(pattern: Any, options: Any) -> re.Pattern[str]:
    unknown = set(options) - set(_REGEX_FLAGS)
    if unknown:
        raise BadValue(f"invalid regular expression option: {sorted(unknown)[0]}")
    flags = 0
    for option in options:
        flags |= _REGEX_FLAGS[option]
    if isinstance(pattern, Regex):
        pattern, flags = pattern.pattern, flags | pattern.flags
    if not isinstance(pattern, str):
        raise BadValue("$regex has to be a string")
    # Python marks every text pattern as Unicode; drivers send that flag on.
    flags &= re.IGNORECASE | re.MULTILINE | re.DOTALL | re.VERBOSE
    try:
        return re.compile(pattern, flags)
    except re.error as error:
        raise BadValue(f"invalid regular expression {pattern!r}: {error}") from error


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_integer(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_int32(value: Any) -> bool:
    return _is_integer(value) and not isinstance(value, Int64) and value.bit_length() <= _INT32_BITS


_TYPES: dict[Any, Callable[[Any], bool]] = {
    "double": lambda value: isinstance(value, float),
    "string": lambda value: isinstance(value, str),
    "object": lambda value: isinstance(value, dict),
    "array": lambda value: isinstance(value, list),
    "binData": lambda value: isinstance(value, bytes | Binary),
    "objectId": lambda value: isinstance(value, ObjectId),
    "bool": lambda value: isinstance(value, bool),
    "date": lambda value: isinstance(value, datetime),
    "null": lambda value: value is None,
    "regex": lambda value: isinstance(value, Regex),
    "int": _is_int32,
    "long": lambda value: _is_integer(value) and not _is_int32(value),
    "decimal": lambda value: isinstance(value, Decimal128),
    "timestamp": lambda value: isinstance(value, Timestamp),
    "number": lambda value: _is_number(value) or isinstance(value, Decimal128),
}

_TYPE_NUMBERS: dict[Any, str] = {
    1: "double",
    2: "string",
    3: "object",
    4: "array",
    5: "binData",
    7: "objectId",
    8: "bool",
    9: "date",
    10: "null",
    11: "regex",
    16: "int",
    17: "timestamp",
    18: "long",
    19: "decimal",
}

LEAF_OPERATORS: dict[str, Callable[[Any], Test]] = {
    "$eq": equals,
    "$ne": lambda operand: negated(equals(operand)),
    "$in": is_in,
    "$nin": lambda operand: negated(is_in(operand)),
    "$gt": _compared(gt),
    "$gte": _compared(ge),
    "$lt": _compared(lt),
    "$lte": _compared(le),
    "$exists": _exists,
    "$size": _size,
    "$mod": _modulo,
    "$type": _type,
}

_UNSUPPORTED = {
    "$bitsAllClear",
    "$bitsAllSet",
    "$bitsAnyClear",
    "$bitsAnySet",
    "$expr",
    "$geoIntersects",
    "$geoWithin",
    "$jsonSchema",
    "$near",
    "$nearSphere",
    "$text",
    "$where",
}


def unknown_operator(name: str) -> BadValue | NotSupported:
    """The error for an operator that is not compiled: MongoDB has it, or nobody has."""
    return NotSupported(f"the query operator {name}") if name in _UNSUPPORTED else BadValue(f"unknown operator: {name}")
