"""Aggregation stages rewritten so that mongomock answers them as MongoDB does.

mongomock drops an expression that reads a missing field, where MongoDB goes on with null.
"""

from typing import Any

from app.devstack.store.errors import NotSupported

_COMPARISONS = {"$eq", "$ne", "$gt", "$gte", "$lt", "$lte"}

# What mongomock's `$group` gets right once the missing fields are out of its way.
_ACCUMULATORS = {"$sum", "$avg", "$min", "$max", "$push", "$first", "$last", "$addToSet"}


def rewritten(expression: Any) -> Any:
    if isinstance(expression, list):
        return [rewritten(item) for item in expression]
    if not isinstance(expression, dict):
        return expression
    if "$literal" in expression:
        return expression
    if len(expression) == 1:
        ((operator, operand),) = expression.items()
        if operator in _COMPARISONS and isinstance(operand, list) and len(operand) == 2:
            return _comparison(operator, operand)
    return {name: rewritten(item) for name, item in expression.items()}


def _comparison(operator: str, operands: list[Any]) -> Any:
    left, right = (rewritten(operand) for operand in operands)
    if None in (left, right) and operator in ("$eq", "$ne"):
        # To MongoDB a missing field is not equal to null, which is what mongomock's refusal amounts to.
        return {"$eq": [left, right]} if operator == "$eq" else {"$not": {"$eq": [left, right]}}
    return {operator: [_or_null(left), _or_null(right)]}


def _or_null(operand: Any) -> Any:
    is_path = isinstance(operand, str) and operand.startswith("$") and not operand.startswith("$$")
    return {"$ifNull": [operand, None]} if is_path else operand


def accumulators(output: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """The fields to compute on each document beforehand, and the output fields of a group over those.

    Beforehand, because within a group mongomock drops a document whose expression reads any missing field.
    Raises :class:`NotSupported` for accumulators left out here.
    """
    computed: dict[str, Any] = {}
    accumulated: dict[str, Any] = {}
    for number, (field, operand) in enumerate(output.items()):
        if not isinstance(operand, dict) or len(operand) != 1:
            raise NotSupported(f"the accumulator of field {field!r}")
        ((operator, expression),) = operand.items()
        if operator not in _ACCUMULATORS:
            raise NotSupported(f"the accumulator {operator}")
        if not isinstance(expression, int | float):
            name = f"__accumulated_{number}"
            computed[name] = rewritten(expression)
            expression = f"${name}"
        accumulated[field] = _accumulator(operator, expression)
    return computed, accumulated


def _accumulator(operator: str, expression: Any) -> Any:
    match operator:
        case "$sum" | "$avg":
            # mongomock counts true as 1.
            return {operator: {"$cond": [{"$isNumber": expression}, expression, None]}}
        case "$first" | "$last":
            return {operator: {"$ifNull": [expression, None]}}
        case "$addToSet":
            # mongomock turns 0 and "" into null: collect everything and make it a set afterwards.
            return {"$push": expression}
        case _:
            return {operator: expression}
