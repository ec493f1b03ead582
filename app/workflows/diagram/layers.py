"""Puts the nodes of an acyclic graph in rows, and the nodes of each row in an order with few crossings. Pure.

The method of Sugiyama: rows by longest path, a bend in every row that an edge passes, and barycentre sweeps. The same
graph gives the same rows.
"""

from bisect import bisect_right, insort
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import count, pairwise
from statistics import fmean

WIDEST = 8
# Edges of a graph that need more are drawn straight.
MOST_BENDS = 5_000
_SWEEPS = 12

Graph = Sequence[Sequence[int]]


@dataclass(slots=True)
class Layers:
    """``rows`` hold nodes, and numbers from their count on that are bends. ``chains`` are edges, each with its bends
    between its ends; ``up`` and ``down`` are the neighbours in the rows before and after."""

    rows: list[list[int]]
    chains: list[tuple[int, ...]] = field(default_factory=list)
    up: dict[int, list[int]] = field(default_factory=dict)
    down: dict[int, list[int]] = field(default_factory=dict)


def layers_of(needs: Graph) -> Layers:
    """``needs`` are, for each node, those that come before it."""
    followers = _followers(needs)
    rows = _rows(_depths(needs, followers))
    place = {node: number for number, row in enumerate(rows) for node in row}
    edges = [(need, node) for node, needed in enumerate(needs) for need in needed]
    bends = _Bends(rows, len(needs))
    is_bent = sum(place[node] - place[need] - 1 for need, node in edges) <= MOST_BENDS
    layers = Layers(rows)
    for need, node in edges:
        between = range(place[need] + 1, place[node]) if is_bent else ()
        # Edges from or to the same node run together, whichever has more of them.
        whose = (need, "from") if len(followers[need]) > len(needs[node]) else (node, "to")
        layers.chains.append((need, *(bends.at(row, whose) for row in between), node))
    _link(layers, place)
    _untangle(layers)
    return layers


class _Bends:
    def __init__(self, rows: list[list[int]], first: int) -> None:
        self._rows = rows
        self._numbers = count(first)
        self._known: dict[tuple[int, tuple[int, str]], int] = {}

    def at(self, row: int, whose: tuple[int, str]) -> int:
        if (row, whose) not in self._known:
            self._known[row, whose] = next(self._numbers)
            self._rows[row].append(self._known[row, whose])
        return self._known[row, whose]


def _followers(needs: Graph) -> list[list[int]]:
    followers: list[list[int]] = [[] for _ in needs]
    for node, needed in enumerate(needs):
        for need in needed:
            followers[need].append(node)
    return followers


def _depths(needs: Graph, followers: Graph) -> list[int]:
    depths = [0] * len(needs)
    missing = [len(needed) for needed in needs]
    ready = [node for node, needed in enumerate(needs) if not needed]
    while ready:
        node = ready.pop()
        for follower in followers[node]:
            depths[follower] = max(depths[follower], depths[node] + 1)
            missing[follower] -= 1
            if not missing[follower]:
                ready.append(follower)
    return depths


def _rows(depths: Sequence[int]) -> list[list[int]]:
    """One per depth; a crowded one is broken into several, so that a page stays narrow enough to be read."""
    levels: list[list[int]] = [[] for _ in range(max(depths, default=-1) + 1)]
    for node, depth in enumerate(depths):
        levels[depth].append(node)
    return [level[start : start + WIDEST] for level in levels for start in range(0, len(level), WIDEST)]


def _link(layers: Layers, place: dict[int, int]) -> None:
    steps = (pair for chain in layers.chains for pair in pairwise(chain))
    for before, after in dict.fromkeys(steps):
        if _is_next(place, before, after):
            layers.down.setdefault(before, []).append(after)
            layers.up.setdefault(after, []).append(before)


def _is_next(place: dict[int, int], before: int, after: int) -> bool:
    """False for an edge without the bends that it needs: it counts for nobody's place."""
    return before not in place or after not in place or place[after] - place[before] == 1


def _untangle(layers: Layers) -> None:
    """Keeps the best order of all sweeps, and the first of equally good ones."""
    fewest, best = _crossings(layers), [list(row) for row in layers.rows]
    for sweep in range(_SWEEPS):
        if not fewest:
            break
        is_downward = sweep % 2 == 0
        neighbours = layers.up if is_downward else layers.down
        rows = layers.rows if is_downward else layers.rows[::-1]
        for fixed, free in pairwise(rows):
            _sort(free, fixed, neighbours)
        if (found := _crossings(layers)) < fewest:
            fewest, best = found, [list(row) for row in layers.rows]
    layers.rows = best


def _sort(free: list[int], fixed: Sequence[int], neighbours: dict[int, list[int]]) -> None:
    places = {node: place for place, node in enumerate(fixed)}
    # A node without neighbours stays about where it is.
    wanted = {
        node: fmean(places[one] for one in neighbours[node]) if node in neighbours else place * len(fixed) / len(free)
        for place, node in enumerate(free)
    }
    free.sort(key=wanted.__getitem__)


def _crossings(layers: Layers) -> int:
    crossings = 0
    for upper, lower in zip(layers.rows, layers.rows[1:], strict=False):
        places = {node: place for place, node in enumerate(lower)}
        seen: list[int] = []
        for node in upper:
            ends = sorted(places[one] for one in layers.down.get(node, ()))
            crossings += sum(len(seen) - bisect_right(seen, end) for end in ends)
            for end in ends:
                insort(seen, end)
    return crossings
