"""Which index answers a query, and in what ranges: the one with the fewest entries to look at."""

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import product

from app.devstack.store.index import CEILING, Index
from app.devstack.store.ordering import NULL, Key, order_key
from app.devstack.store.query import Condition, Query

Sort = list[tuple[str, int]]
Range = tuple[Key, Key]

# Beyond this many combinations of $in values, walking the index once is cheaper than preparing them all.
_MAX_RANGES = 10_000


@dataclass(frozen=True, slots=True)
class Plan:
    """``is_exact`` promises that every document in the ranges matches; ``is_ordered`` that they come sorted."""

    index: Index
    ranges: list[Range]
    cost: float
    is_exact: bool
    is_ordered: bool
    is_reversed: bool

    def sequences(self) -> Iterator[int]:
        entries = self.index.entries
        walk = entries.between_reversed if self.is_reversed else entries.between
        found = (entry[-1] for low, high in self.ranges for entry in walk(low, high))
        if not self.index.is_multikey:
            return found
        return iter(dict.fromkeys(found))

    def count(self) -> int:
        """How many documents an exact plan finds, without visiting them."""
        return sum(self.index.entries.count(low, high) for low, high in self.ranges)


def choose(query: Query, sort: Sort, need: float, indexes: Iterable[Index], total: int) -> Plan | None:
    """The cheapest plan, or None when reading the whole collection of ``total`` documents is as good.

    ``need`` is how many documents the caller takes before it stops, infinite when all.
    """
    conditions = _by_path(query)
    best: Plan | None = None
    for index in indexes:
        if not _covers(index, query):
            continue
        plan = _plan(index, query, conditions, sort, need)
        if plan is not None and (best is None or plan.cost < best.cost):
            best = plan
    return best if best is not None and (best.cost < total or best.is_ordered) else None


def _by_path(query: Query) -> dict[str, list[Condition]]:
    conditions: dict[str, list[Condition]] = {}
    for condition in query.conditions:
        if condition.is_indexable:
            conditions.setdefault(condition.path, []).append(condition)
    return conditions


def _covers(index: Index, query: Query) -> bool:
    """Whether every document the query can match is in the index."""
    if index.partial is not None:
        return not index.partial.clauses and all(_implies(query, held) for held in index.partial.conditions)
    if index.spec.sparse:
        return any(
            condition.path == index.paths[0] and condition.is_indexable and _asks_for_a_value(condition)
            for condition in query.conditions
        )
    return True


def _implies(query: Query, held: Condition) -> bool:
    for condition in query.conditions:
        if condition.path != held.path:
            continue
        if condition.operator == held.operator and condition.operand == held.operand:
            return True
        # Any value that the query pins down can simply be tried.
        if condition.operator == "$eq" and condition.is_indexable and held.test([condition.operand]):
            return condition.operand is not None
    return False


def _asks_for_a_value(condition: Condition) -> bool:
    operands = condition.operand if condition.operator == "$in" else [condition.operand]
    return all(order_key(operand) != NULL for operand in operands)


def _plan(index: Index, query: Query, conditions: dict[str, list[Condition]], sort: Sort, need: float) -> Plan | None:
    prefixes: list[Key] = [()]
    used = 0
    for path in index.paths:
        keys = _equal_keys(conditions.get(path, ()))
        if keys is None or len(prefixes) * len(keys) > _MAX_RANGES:
            break
        prefixes = [prefix + key for prefix, key in product(prefixes, keys)]
        used += 1
    bounds = _bounds(conditions.get(index.paths[used], ()), index) if used < len(index.paths) else ()
    ranges = [_range(prefix, bounds) for prefix in prefixes]
    direction = _sort_direction(index, sort, used, conditions)
    is_ordered = bool(sort) and direction != 0 and len(ranges) == 1 and not index.is_multikey
    if not used and not bounds and not is_ordered:
        return None
    consumed = used + len(bounds)
    is_exact = not index.is_multikey and not query.clauses and consumed == len(query.conditions)
    count = sum(index.entries.count(low, high) for low, high in ranges)
    cost = _cost(count, need, stops_early=is_ordered or not sort, is_exact=is_exact)
    return Plan(index, ranges, cost, is_exact, is_ordered, is_reversed=is_ordered and direction < 0)


def _cost(count: int, need: float, *, stops_early: bool, is_exact: bool) -> float:
    if not stops_early or math.isinf(need):
        return float(count)
    # With conditions left to test nobody knows how far the walk goes; half is as good a guess as any.
    return min(count, need) if is_exact else count / 2


def _equal_keys(conditions: Iterable[Condition]) -> list[Key] | None:
    for condition in conditions:
        if condition.operator == "$eq":
            return [order_key(condition.operand)]
        if condition.operator == "$in":
            return sorted({order_key(item) for item in condition.operand})
    return None


def _bounds(conditions: Iterable[Condition], index: Index) -> tuple[Condition, ...]:
    """At most one lower and one upper bound of one type."""
    chosen: dict[str, Condition] = {}
    for condition in conditions:
        side = condition.operator[:3]
        if side in ("$gt", "$lt"):
            chosen.setdefault(side, condition)
    bounds = tuple(chosen.values())
    # In an array one element may satisfy the lower and another the upper bound, so only one narrows the walk.
    same_type = len({order_key(condition.operand)[0] for condition in bounds}) == 1
    return bounds if same_type and not index.is_multikey else bounds[:1]


def _range(prefix: Key, bounds: tuple[Condition, ...]) -> Range:
    if not bounds:
        return prefix, prefix + CEILING
    rank = order_key(bounds[0].operand)[0]
    low, high = (*prefix, rank), (*prefix, rank + 0.5)
    for bound in bounds:
        edge = prefix + order_key(bound.operand)
        match bound.operator:
            case "$gt":
                low = edge + CEILING
            case "$gte":
                low = edge
            case "$lt":
                high = edge
            case _:
                high = edge + CEILING
    return low, high


def _sort_direction(index: Index, sort: Sort, pinned: int, conditions: dict[str, list[Condition]]) -> int:
    """1 or -1 when walking the index forwards or backwards gives the order, else 0."""
    constant = {
        path for path in index.paths if any(condition.operator == "$eq" for condition in conditions.get(path, ()))
    }
    wanted = [(path, direction) for path, direction in sort if path not in constant]
    directions = {direction for _, direction in wanted} or {1}
    following = index.paths[pinned : pinned + len(wanted)]
    if len(directions) > 1 or following != [path for path, _ in wanted]:
        return 0
    return directions.pop()
