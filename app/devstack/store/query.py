"""A filter compiled once into tests, and the conditions an index can answer."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from bson.regex import Regex

from app.devstack.store.documents import Document
from app.devstack.store.errors import BadValue
from app.devstack.store.ordering import ARRAY_RANK, REGEX_RANK, order_key
from app.devstack.store.paths import Parts, leaves, split
from app.devstack.store.predicates import (
    LEAF_OPERATORS,
    Test,
    equals,
    matches_regex,
    negated,
    unknown_operator,
)

Clause = Callable[[Document], bool]


@dataclass(frozen=True, slots=True)
class Condition:
    """One operator on one path; all conditions of a query have to hold."""

    path: str
    parts: Parts
    operator: str
    operand: Any
    test: Test

    def holds(self, document: Document) -> bool:
        return self.test(leaves(document, self.parts))

    @property
    def is_pinned(self) -> bool:
        """Whether the filter demands one value; an upsert inserts it."""
        return self.operator == "$eq" and not isinstance(self.operand, Regex)

    @property
    def is_indexable(self) -> bool:
        """Whether an index keeps the values this condition asks for together."""
        if self.operator == "$in":
            return all(_is_indexable(item) for item in self.operand)
        return self.operator in _INDEXED_OPERATORS and _is_indexable(self.operand)


@dataclass(frozen=True, slots=True)
class Query:
    conditions: tuple[Condition, ...]
    clauses: tuple[Clause, ...]

    def matches(self, document: Document) -> bool:
        for condition in self.conditions:
            if not condition.test(leaves(document, condition.parts)):
                return False
        return all(clause(document) for clause in self.clauses)

    def equality(self, path: str) -> Any:
        """The value the filter demands at a path; raises ``KeyError`` when it demands none."""
        for condition in self.conditions:
            if condition.path == path and condition.is_pinned:
                return condition.operand
        raise KeyError(path)


def parse(search: Any) -> Query:
    """Raises :class:`BadValue` for what is no filter and :class:`NotSupported` for operators left out here."""
    if search is None:
        return Query((), ())
    if not isinstance(search, dict):
        raise BadValue(f"the match filter must be an expression in an object, not {search!r:.80}")
    conditions: list[Condition] = []
    clauses: list[Clause] = []
    for name, operand in search.items():
        if not name.startswith("$"):
            conditions += _conditions(name, operand)
        elif name == "$and":
            for part in _subqueries(name, operand):
                conditions += part.conditions
                clauses += part.clauses
        elif name != "$comment":
            clauses.append(_clause(name, operand))
    return Query(tuple(conditions), tuple(clauses))


def _clause(name: str, operand: Any) -> Clause:
    if name not in _LOGICAL:
        raise unknown_operator(name)
    return _LOGICAL[name](_subqueries(name, operand))


def _conditions(path: str, operand: Any) -> list[Condition]:
    parts = split(path)
    if not is_operator_document(operand):
        test = matches_regex(operand) if isinstance(operand, Regex) else equals(operand)
        return [Condition(path, parts, "$eq", operand, test)]
    tests = _operator_tests(operand)
    return [Condition(path, parts, operator, operand[operator], test) for operator, test in tests.items()]


def is_operator_document(operand: Any) -> bool:
    return isinstance(operand, dict) and bool(operand) and next(iter(operand)).startswith("$")


def operator_test(operand: Any) -> Test:
    """All operators of one operand, as ``$pull`` and ``$elemMatch`` apply them to a bare value."""
    tests = list(_operator_tests(operand).values())
    return lambda values: all(test(values) for test in tests)


def _operator_tests(operand: Document) -> dict[str, Test]:
    tests: dict[str, Test] = {}
    for name, value in operand.items():
        if name == "$regex":
            tests[name] = matches_regex(value, operand.get("$options", ""))
        elif name in LEAF_OPERATORS:
            tests[name] = LEAF_OPERATORS[name](value)
        elif name in _RECURSIVE:
            tests[name] = _RECURSIVE[name](value)
        elif name != "$options" or "$regex" not in operand:
            raise unknown_operator(name)
    return tests


def _not(operand: Any) -> Test:
    if isinstance(operand, Regex):
        return negated(matches_regex(operand))
    if not is_operator_document(operand):
        raise BadValue("$not needs a regex or a document of operators")
    return negated(operator_test(operand))


def _elem_match(operand: Any) -> Test:
    if not isinstance(operand, dict):
        raise BadValue("$elemMatch needs an Object")
    fits = element_test(operand)
    return lambda values: any(isinstance(value, list) and any(map(fits, value)) for value in values)


def element_test(operand: Document) -> Callable[[Any], bool]:
    """What ``$elemMatch`` asks of one element: operators on its value, or a filter on its fields."""
    if is_operator_document(operand) and next(iter(operand)) not in _LOGICAL and "$and" not in operand:
        on_value = operator_test(operand)
        return lambda element: on_value([element])
    query = parse(operand)
    return lambda element: isinstance(element, dict) and query.matches(element)


def _all(operand: Any) -> Test:
    if not isinstance(operand, list):
        raise BadValue("$all needs an array")
    tests = [
        _elem_match(item["$elemMatch"]) if isinstance(item, dict) and "$elemMatch" in item else equals(item)
        for item in operand
    ]
    return lambda values: bool(tests) and all(test(values) for test in tests)


def _subqueries(name: str, operand: Any) -> list[Query]:
    if not isinstance(operand, list) or not operand:
        raise BadValue(f"{name} must be a nonempty array")
    return [parse(item) for item in operand]


def _is_indexable(operand: Any) -> bool:
    return order_key(operand)[0] not in (ARRAY_RANK, REGEX_RANK)


_INDEXED_OPERATORS = {"$eq", "$gt", "$gte", "$lt", "$lte"}

_RECURSIVE: dict[str, Callable[[Any], Test]] = {"$not": _not, "$elemMatch": _elem_match, "$all": _all}

_LOGICAL: dict[str, Callable[[list[Query]], Clause]] = {
    "$or": lambda queries: lambda document: any(query.matches(document) for query in queries),
    "$nor": lambda queries: lambda document: not any(query.matches(document) for query in queries),
}
