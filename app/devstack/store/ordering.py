"""MongoDB's order over values of every BSON type, as tuples that Python compares natively.

Two values are equal to MongoDB exactly when their keys are equal: 1 and 1.0 are, 1 and true are not.
Source: https://www.mongodb.com/docs/manual/reference/bson-type-comparison-order/
"""

from collections.abc import Callable
from datetime import datetime
from enum import Enum
from typing import Any

from bson import Binary, Code, DBRef, Decimal128, Int64, MaxKey, MinKey, ObjectId, Timestamp
from bson.regex import Regex

from app.devstack.store.errors import NotSupported

Key = tuple[Any, ...]


class Missing(Enum):
    """The value of a field that is not there; it orders and compares as null does."""

    MISSING = "missing"


MISSING = Missing.MISSING

NULL: Key = (5, 0)
EMPTY_ARRAY: Key = (4, 0)
ARRAY_RANK = 25
REGEX_RANK = 50


def order_key(value: Any) -> Key:
    """``(rank of the type, comparable value)``."""
    make = _MAKERS.get(type(value))
    if make is None:
        raise NotSupported(f"comparing a value of type {type(value).__name__}")
    return make(value)


def _number(value: Any) -> Key:
    # NaN is unordered for Python, and the smallest number for MongoDB.
    return (10, value) if value == value else (9, 0)


def _decimal(value: Decimal128) -> Key:
    return _number(value.to_decimal())


def _document(value: dict[str, Any]) -> Key:
    fields = []
    for name, item in value.items():
        rank, comparable = order_key(item)
        fields.append((rank, name, comparable))
    return (20, tuple(fields))


_MAKERS: dict[type, Callable[[Any], Key]] = {
    str: lambda value: (15, value),
    int: lambda value: (10, value),
    Int64: lambda value: (10, value),
    float: _number,
    Decimal128: _decimal,
    bool: lambda value: (40, value),
    datetime: lambda value: (45, value),
    type(None): lambda _: NULL,
    Missing: lambda _: NULL,
    ObjectId: lambda value: (35, value),
    dict: _document,
    list: lambda value: (ARRAY_RANK, tuple(order_key(item) for item in value)),
    bytes: lambda value: (30, (len(value), 0, value)),
    Binary: lambda value: (30, (len(value), value.subtype, bytes(value))),
    Timestamp: lambda value: (47, (value.time, value.inc)),
    Regex: lambda value: (REGEX_RANK, (value.pattern, value.flags)),
    Code: lambda value: (60, str(value)),
    DBRef: lambda value: _document(dict(value.as_doc())),
    MinKey: lambda _: (0, 0),
    MaxKey: lambda _: (127, 0),
}
