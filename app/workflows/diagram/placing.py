"""Gives the boxes of a graph their places: rows below each other, each box near what it is joined to. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import median

from app.workflows.diagram.layers import Graph, Layers, layers_of

ROW_GAP, COLUMN_GAP, BEND_WIDTH = 40.0, 24.0, 4.0
# How much more than a box a bend keeps its place, so that long edges run straight.
_STIFFNESS = 16.0
_SWEEPS = 8

Point = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Size:
    width: float
    height: float


@dataclass(frozen=True, slots=True)
class Edge:
    """From the lower side of one box to the upper side of another. ``points`` come in pairs, within which it runs
    straight down; it curves from one pair to the next, and to the last point, which is alone."""

    points: tuple[Point, ...]


@dataclass(frozen=True, slots=True)
class Placement:
    """``corners`` are the upper left ones of the boxes, in their order."""

    corners: tuple[Point, ...]
    edges: tuple[Edge, ...]
    size: Size


def placed(sizes: Sequence[Size], needs: Graph) -> Placement:
    """In pixels, from the corner at 0, 0. Rows are as high as their highest box."""
    if not sizes:
        return Placement((), (), Size(0, 0))
    layers = layers_of(needs)
    widths = {node: sizes[node].width if node < len(sizes) else BEND_WIDTH for row in layers.rows for node in row}
    centres = _centres(layers, widths)
    left = min(centre - widths[node] / 2 for node, centre in centres.items())
    centres = {node: centre - left for node, centre in centres.items()}
    tops, bottoms, height = _heights(layers, sizes)
    corners = tuple((centres[node] - size.width / 2, tops[node]) for node, size in enumerate(sizes))
    edges = tuple(_edge(chain, centres, tops, bottoms, sizes) for chain in layers.chains)
    width = max(centre + widths[node] / 2 for node, centre in centres.items())
    return Placement(corners, edges, Size(width, height))


def _heights(layers: Layers, sizes: Sequence[Size]) -> tuple[dict[int, float], dict[int, float], float]:
    """Where the row of each node begins and ends, and where the last row ends."""
    tops: dict[int, float] = {}
    bottoms: dict[int, float] = {}
    top = 0.0
    for row in layers.rows:
        bottom = top + max((sizes[node].height for node in row if node < len(sizes)), default=0)
        tops.update(dict.fromkeys(row, top))
        bottoms.update(dict.fromkeys(row, bottom))
        top = bottom + ROW_GAP
    return tops, bottoms, top - ROW_GAP


def _edge(
    chain: Sequence[int],
    centres: Mapping[int, float],
    tops: Mapping[int, float],
    bottoms: Mapping[int, float],
    sizes: Sequence[Size],
) -> Edge:
    first, *bends, last = chain
    begins = [(centres[first], tops[first] + sizes[first].height), (centres[first], bottoms[first])]
    passes = [point for bend in bends for point in ((centres[bend], tops[bend]), (centres[bend], bottoms[bend]))]
    return Edge((*begins, *passes, (centres[last], tops[last])))


def _centres(layers: Layers, widths: Mapping[int, float]) -> dict[int, float]:
    centres: dict[int, float] = {}
    for row in layers.rows:
        centres.update(zip(row, _spread([(0.0, widths[node], 1.0) for node in row]), strict=True))
    for sweep in range(_SWEEPS):
        rows, neighbours = (layers.rows, layers.up) if sweep % 2 == 0 else (layers.rows[::-1], layers.down)
        for row in rows:
            wanted = [_wanted(node, neighbours.get(node, [node]), centres, widths) for node in row]
            centres.update(zip(row, _spread(wanted), strict=True))
    return centres


def _wanted(
    node: int, near: Sequence[int], centres: Mapping[int, float], widths: Mapping[int, float]
) -> tuple[float, float, float]:
    """Where its centre is best, its width, and how much that counts."""
    bends = [one for one in near if widths[node] == widths[one] == BEND_WIDTH]
    return median(centres[one] for one in bends or near), widths[node], _STIFFNESS if bends else 1.0


def _spread(wanted: Sequence[tuple[float, float, float]]) -> list[float]:
    """The places nearest to the wanted ones, by weighted least squares, at which neighbours keep their distance.

    With distances taken off it is an isotonic regression: those in each other's way are pooled at their mean.
    """
    offsets = [0.0]
    for (_, one, _), (_, other, _) in pairwise(wanted):
        offsets.append(offsets[-1] + (one + other) / 2 + COLUMN_GAP)
    pools: list[tuple[float, float, int]] = []
    for (centre, _, weight), offset in zip(wanted, offsets, strict=True):
        mean, heavy, count = centre - offset, weight, 1
        while pools and pools[-1][0] >= mean:
            before, other, number = pools.pop()
            mean, heavy, count = (before * other + mean * heavy) / (other + heavy), other + heavy, number + count
        pools.append((mean, heavy, count))
    pooled = [mean for mean, _, count in pools for _ in range(count)]
    return [mean + offset for mean, offset in zip(pooled, offsets, strict=True)]
