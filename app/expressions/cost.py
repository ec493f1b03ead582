"""An upper bound of what evaluating an expression costs, before it is evaluated.

The library bounds iterations and depth and nothing else: `s.replace("x", s)` makes gigabytes of a small text, without
letting anything else run meanwhile. So each part of an expression gets a bound of its size in bytes, linear in the
sizes of the items that are folded over: summed over a list these are the size of the list. Everything that a part
reads or makes is work, and so is what the library copies.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from app.expressions.references import Path, path_of
from app.expressions.tree import Call, Constant, Entries, Fold, Items, Member, Name, Node, children_of, nodes_of

# The library stops after as many iterations, of all folds together.
MOST_ITERATIONS = 10_000
_SCALAR = 8.0
_ENTRY = 16.0
# For a list of n items it takes n * n of these: measured, 4 s for 8,000.
_COPIED = 8.0
# Functions that make more than they are given, or a list of each of its characters.
_GROWING = frozenset({"replace", "join", "format", "split", "_+_"})
_QUOTING = frozenset({"quote", "strings.quote", "bytes", "string"})
_COMPARING = frozenset({"_==_", "_!=_", "_<_", "_<=_", "_>_", "_>=_", "@in", "_&&_", "_||_", "!_", "size", "matches"})
_COMPARING |= {"startsWith", "endsWith", "contains", "indexOf", "lastIndexOf"}
_SELECTING = frozenset({"_[_]", "_?._", "_[?_]", "value", "optional.of", "optional.ofNonZeroValue"})


@dataclass(frozen=True, slots=True)
class Bound:
    """``fixed`` bytes, and ``per`` byte of each variable."""

    fixed: float = 0.0
    per: Mapping[str, float] = field(default_factory=dict)

    def __add__(self, other: "Bound") -> "Bound":
        names = {*self.per, *other.per}
        per = {name: self.per.get(name, 0.0) + other.per.get(name, 0.0) for name in names}
        return Bound(self.fixed + other.fixed, per)

    def times(self, factor: float) -> "Bound":
        return Bound(self.fixed * factor, {name: value * factor for name, value in self.per.items()})

    def without(self, variable: str) -> "Bound":
        return Bound(self.fixed, {name: value for name, value in self.per.items() if name != variable})


@dataclass(frozen=True, slots=True)
class Extent:
    """How large a value is: bytes of its JSON, and items of the longest list in it."""

    size: float = 0.0
    longest: float = 0.0


@dataclass(frozen=True, slots=True)
class Cost:
    """``longest`` is how many items a list of the value can have, at any depth."""

    size: Bound
    work: Bound
    longest: float = 0.0


def grows(tree: Node) -> bool:
    """Whether it can cost more than its own length and the data it names."""
    nodes = list(nodes_of(tree))
    return any(isinstance(node, Fold) or (isinstance(node, Call) and node.function in _GROWING) for node in nodes)


def cost_of(tree: Node, extent_of: Callable[[Path], Extent]) -> tuple[float, float]:
    """Bytes of the result and bytes read and made on the way, at most. ``extent_of`` is asked about references."""
    cost = _Walk(extent_of, {}, {}, 1.0).cost(tree)
    return cost.size.fixed, cost.work.fixed


@dataclass(frozen=True, slots=True)
class _Walk:
    """``items`` are the largest of those that are folded over, by variable; ``gathered`` is what folds have gathered;
    ``rounds`` is how often this part is evaluated.
    """

    extent_of: Callable[[Path], Extent]
    items: Mapping[str, Extent]
    gathered: Mapping[str, Cost]
    rounds: float

    def cost(self, node: Node) -> Cost:
        bound = frozenset({*self.items, *self.gathered})
        if (reference := path_of(node, bound)) is not None:
            extent = self.extent_of(reference.path)
            return Cost(Bound(extent.size), Bound(_SCALAR), extent.longest)
        match node:
            case Call():
                return self._call(node)
            case Fold():
                return self._fold(node)
            case Member():
                return self.cost(node.operand)
            case Items() | Entries():
                return self._written(node)
            case Name():
                return self._variable(node.name)
            case Constant():
                size = len(node.value) if isinstance(node.value, str | bytes) else 0.0
                return Cost(Bound(_SCALAR + size), Bound(_SCALAR))

    def _variable(self, name: str) -> Cost:
        if name in self.gathered:
            return self.gathered[name]
        return Cost(Bound(_SCALAR, {name: 1.0}), Bound(_SCALAR), self.items[name].longest)

    def _written(self, node: Items | Entries) -> Cost:
        costs = [self.cost(part) for part in children_of(node)]
        size = sum((cost.size for cost in costs), Bound(_ENTRY * (len(costs) + 1)))
        work = sum((cost.work for cost in costs), Bound())
        return Cost(size, work + size, max([float(len(costs)), *(cost.longest for cost in costs)]))

    def _call(self, node: Call) -> Cost:
        costs = [self.cost(operand) for operand in node.operands]
        read = sum((cost.size for cost in costs), Bound(_SCALAR))
        work = sum((cost.work for cost in costs), Bound())
        if node.function in _SELECTING and costs:
            return Cost(costs[0].size + costs[-1].size, work + Bound(_SCALAR), sum(cost.longest for cost in costs))
        size = self._size(node.function, [cost.size for cost in costs], read)
        return Cost(size, work + read + size, self._longest(node.function, costs))

    def _longest(self, function: str, costs: list[Cost]) -> float:
        if function in _COMPARING:
            return 0.0
        if function == "split":
            return self._most(costs[0].size) + 1.0
        if function == "_?_:_":
            return max(cost.longest for cost in costs[1:])
        return sum(cost.longest for cost in costs)

    def _size(self, function: str, sizes: list[Bound], read: Bound) -> Bound:
        if function in _COMPARING:
            return Bound(_SCALAR)
        if function == "replace" and len(sizes) > 2:
            return sizes[0] + sizes[0].times(max(self._most(sizes[2]) - _SCALAR, 1.0))
        if function == "join" and len(sizes) > 1:
            return sizes[0] + sizes[0].times(self._most(sizes[1]))
        if function == "split":
            return sizes[0].times(_ENTRY) + Bound(_ENTRY)
        if function == "format":
            # A number may have a thousand digits.
            return read + sizes[0].times(500.0)
        return read.times(6.0) if function in _QUOTING else read

    def _most(self, bound: Bound) -> float:
        per = ((name, factor) for name, factor in bound.per.items() if name in self.items)
        return bound.fixed + sum(factor * self.items[name].size for name, factor in per)

    def _fold(self, node: Fold) -> Cost:
        over, initial = self.cost(node.range), self.cost(node.initial)
        # All folds together go around so often.
        count = min(over.longest, MOST_ITERATIONS / self.rounds)
        items = {**self.items, node.variable: Extent(self._most(over.size), over.longest)}
        gathered = {**self.gathered, node.gathered: Cost(Bound(), Bound())}
        inside = _Walk(self.extent_of, items, gathered, max(self.rounds * count, 1.0))
        step, condition = inside.cost(node.step), inside.cost(node.condition)
        size = initial.size + _summed(step.size, node.variable, over.size, count)
        work = over.work + initial.work + _summed(step.work + condition.work, node.variable, over.size, count)
        if isinstance(node.initial, Items):
            # The library copies the list for each item that is added.
            work += Bound(_COPIED * count * over.longest)
        made = Cost(size, Bound(_SCALAR), max(over.longest, step.longest, initial.longest))
        result = _Walk(self.extent_of, self.items, {**self.gathered, node.gathered: made}, self.rounds).cost(
            node.result
        )
        return Cost(result.size, work + result.work, result.longest)


def _summed(each: Bound, variable: str, over: Bound, count: float) -> Bound:
    """Over all items, which are together as large as the list."""
    return over.times(each.per.get(variable, 0.0)) + each.without(variable).times(count)
