"""The update operators: each changes one path of a document in place."""

from collections.abc import Callable
from datetime import UTC, datetime
from operator import add, gt, lt, mul
from typing import Any

from bson import Timestamp

from app.devstack.store.documents import Document
from app.devstack.store.errors import BadValue, TypeMismatch
from app.devstack.store.ordering import MISSING, order_key
from app.devstack.store.paths import Parts, get, put, remove, split
from app.devstack.store.query import element_test, is_operator_document, operator_test

Operator = Callable[[Document, Parts, Any], None]

_INT64 = 1 << 63

_PUSH_MODIFIERS = {"$each", "$slice", "$sort", "$position"}


def _unset(document: Document, parts: Parts, _: Any) -> None:
    remove(document, parts)


def _arithmetic(name: str, calculate: Callable[[Any, Any], Any]) -> Operator:
    def apply(document: Document, parts: Parts, operand: Any) -> None:
        current = get(document, parts)
        if not _is_number(operand):
            raise TypeMismatch(f"Cannot {name} with non-numeric argument: {operand!r:.80}")
        if current is MISSING:
            put(document, parts, operand if calculate is add else operand * 0)
            return
        if not _is_number(current):
            path = ".".join(parts)
            raise TypeMismatch(f"Cannot apply {name} to a value of non-numeric type {type(current).__name__}: {path}")
        result = calculate(current, operand)
        if isinstance(result, int) and not -_INT64 <= result < _INT64:
            raise BadValue(f"{name} overflows a 64-bit integer")
        put(document, parts, result)

    return apply


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _extreme(wins: Callable[[Any, Any], bool]) -> Operator:
    def apply(document: Document, parts: Parts, operand: Any) -> None:
        current = get(document, parts)
        if current is MISSING or wins(order_key(operand), order_key(current)):
            put(document, parts, operand)

    return apply


def _current_date(document: Document, parts: Parts, operand: Any) -> None:
    now = datetime.now(UTC)
    if operand == {"$type": "timestamp"}:
        put(document, parts, Timestamp(now, 1))
    else:
        put(document, parts, now.replace(tzinfo=None))


def _rename(document: Document, parts: Parts, operand: Any) -> None:
    value = get(document, parts)
    if value is not MISSING:
        remove(document, parts)
        put(document, split(operand), value)


def _array(document: Document, parts: Parts, operator: str) -> list[Any] | None:
    value = get(document, parts)
    if value is MISSING:
        return None
    if not isinstance(value, list):
        path = ".".join(parts)
        raise BadValue(f"{operator}: the field '{path}' must be an array but is of type {type(value).__name__}")
    return value


def _push(document: Document, parts: Parts, operand: Any) -> None:
    array = _array(document, parts, "$push") or []
    if not (isinstance(operand, dict) and "$each" in operand):
        put(document, parts, [*array, operand])
        return
    unknown = set(operand) - _PUSH_MODIFIERS
    if unknown or not isinstance(operand["$each"], list):
        raise BadValue(f"Unrecognized clause in $push: {sorted(unknown) or operand['$each']!r}")
    position = operand.get("$position", len(array))
    array = [*array[:position], *operand["$each"], *array[position:]]
    if "$sort" in operand:
        array = _sorted_array(array, operand["$sort"])
    if "$slice" in operand:
        size = operand["$slice"]
        array = array[:size] if size >= 0 else array[size:]
    put(document, parts, array)


def _sorted_array(array: list[Any], order: Any) -> list[Any]:
    if not isinstance(order, dict):
        return sorted(array, key=order_key, reverse=order < 0)
    for path, direction in reversed(order.items()):
        parts = split(path)
        array = sorted(array, key=lambda item: order_key(get(item, parts)), reverse=direction < 0)
    return array


def _add_to_set(document: Document, parts: Parts, operand: Any) -> None:
    array = _array(document, parts, "$addToSet") or []
    items = operand["$each"] if isinstance(operand, dict) and "$each" in operand else [operand]
    seen = {order_key(item) for item in array}
    added = list(array)
    for item in items:
        key = order_key(item)
        if key not in seen:
            seen.add(key)
            added.append(item)
    put(document, parts, added)


def _pull(document: Document, parts: Parts, operand: Any) -> None:
    array = _array(document, parts, "$pull")
    if array is not None:
        is_pulled = _pull_test(operand)
        put(document, parts, [item for item in array if not is_pulled(item)])


def _pull_test(operand: Any) -> Callable[[Any], bool]:
    if is_operator_document(operand):
        on_value = operator_test(operand)
        return lambda item: on_value([item])
    if isinstance(operand, dict):
        return element_test(operand)
    key = order_key(operand)
    return lambda item: order_key(item) == key


def _pull_all(document: Document, parts: Parts, operand: Any) -> None:
    array = _array(document, parts, "$pullAll")
    if not isinstance(operand, list):
        raise BadValue("$pullAll requires an array argument")
    if array is not None:
        pulled = {order_key(item) for item in operand}
        put(document, parts, [item for item in array if order_key(item) not in pulled])


def _pop(document: Document, parts: Parts, operand: Any) -> None:
    array = _array(document, parts, "$pop")
    if operand not in (1, -1):
        raise BadValue(f"$pop expects 1 or -1, found: {operand!r}")
    if array is not None:
        put(document, parts, array[:-1] if operand == 1 else array[1:])


OPERATORS: dict[str, Operator] = {
    "$set": put,
    "$setOnInsert": put,
    "$unset": _unset,
    "$inc": _arithmetic("$inc", add),
    "$mul": _arithmetic("$mul", mul),
    "$min": _extreme(lt),
    "$max": _extreme(gt),
    "$currentDate": _current_date,
    "$rename": _rename,
    "$push": _push,
    "$addToSet": _add_to_set,
    "$pull": _pull,
    "$pullAll": _pull_all,
    "$pop": _pop,
}
