"""Charts as SVG that refers to nothing outside itself, the same bytes for the same table.

pygal puts the date, an id made by chance, scripts and links to its home into what it draws; those are taken out.
"""

import sys
from collections import Counter
from collections.abc import Sequence
from itertools import pairwise
from typing import Any
from xml.etree import ElementTree

import polars as pl
import pygal
from pygal.style import Style

from app.agents.data_analyzer.contract import Aggregate, Aggregation, Chart
from app.agents.data_analyzer.describing import aggregate
from app.agents.data_analyzer.errors import TableInvalid
from app.agents.data_analyzer.frame import Frame

MEDIA_TYPE = "image/svg+xml"
MOST_BARS = 60
MOST_POINTS = 500
LONGEST_LABEL = 30
_SVG = "{http://www.w3.org/2000/svg}"
_STYLE = Style(
    background="white",
    plot_background="white",
    font_family="sans-serif",
    colors=("#1f5fa8",),
)
Points = Sequence[tuple[str, float]]
# It looks for maps that are not here, in a way that makes Python warn at every import that finds nothing.
sys.meta_path[:] = [finder for finder in sys.meta_path if not isinstance(finder, pygal.PluginImportFixer)]
ElementTree.register_namespace("", "http://www.w3.org/2000/svg")


def draw(frame: Frame, chart: Chart) -> bytes:
    """Raises `TableInvalid` for a chart that nobody could read."""
    points = _histogram(frame, chart) if chart.kind == "histogram" else _series(frame, chart)
    if not points:
        raise TableInvalid(f"the chart of {chart.x[:40]!r} has nothing to show: the column is empty")
    most = MOST_POINTS if chart.kind == "line" else MOST_BARS
    if len(points) > most:
        raise TableInvalid(f"the chart of {chart.x[:40]!r} has {len(points)} values of x; a {chart.kind} takes {most}")
    return _rendered(chart, points)


def _series(frame: Frame, chart: Chart) -> Points:
    x = frame.get(chart.x)
    one = Aggregation(function=chart.aggregate if chart.y else Aggregate.COUNT, column=chart.y)
    y = frame.get_numeric(chart.y).values if chart.y else pl.Series([None] * len(frame.lines))
    table = pl.DataFrame([x.values.alias("order"), x.raw.alias("x"), y.alias("y")]).filter(pl.col("x").is_not_null())
    found = table.group_by("order", maintain_order=True).agg(
        pl.col("x").first(), aggregate(one, pl.col("y")).alias("y")
    )
    if chart.kind == "line":
        found = found.sort("order")
    rows = found.select("x", pl.col("y").cast(pl.Float64)).filter(pl.col("y").is_finite()).iter_rows()
    return [(_visible(label)[:LONGEST_LABEL], value) for label, value in rows]


def _histogram(frame: Frame, chart: Chart) -> Points:
    """Each interval begins with its lower edge; the last one also has its upper edge."""
    numbers: list[float] = frame.get_numeric(chart.x).values.drop_nulls().cast(pl.Float64).to_list()
    if not numbers:
        return []
    low, high = min(numbers), max(numbers)
    # Not of the difference, which may be too large for a number.
    width = high / chart.bins - low / chart.bins
    if width <= 0:
        return [(f"{low:.6g}", float(len(numbers)))]
    places = Counter(min(int(number / width - low / width), chart.bins - 1) for number in numbers)
    edges = [low + width * number for number in range(chart.bins)] + [high]
    labels = (f"{begin:.6g} – {end:.6g}" for begin, end in pairwise(edges))
    return [(label, float(places[place])) for place, label in enumerate(labels)]


def _rendered(chart: Chart, points: Points) -> bytes:
    kinds: dict[str, Any] = {"bar": pygal.Bar, "line": pygal.Line, "histogram": pygal.Bar}
    drawn = kinds[chart.kind](
        title=_visible(chart.title or _title(chart)),
        style=_STYLE,
        js=[],
        show_legend=False,
        x_label_rotation=30,
        width=900,
        height=500,
        truncate_label=-1,
        x_labels=[label for label, _ in points],
    )
    drawn.uuid = "svg"
    drawn.add(chart.y or "rows", [value for _, value in points])
    return _inert(drawn.render())


def _title(chart: Chart) -> str:
    if chart.kind == "histogram":
        return f"Distribution of {chart.x}"
    return f"{f'{chart.aggregate} of {chart.y}' if chart.y else 'Rows'} by {chart.x}"


def _visible(text: str) -> str:
    """Without the characters that XML cannot hold."""
    return "".join(character if character.isprintable() else " " for character in text)


def _inert(svg: bytes) -> bytes:
    # Comments are dropped by this parser, and the document is one that we have just written.
    root = ElementTree.fromstring(svg)  # noqa: S314
    for parent in root.iter():
        for child in [one for one in parent if one.tag == f"{_SVG}script"]:
            parent.remove(child)
    inert: bytes = ElementTree.tostring(root, encoding="utf-8", xml_declaration=True)
    return inert
