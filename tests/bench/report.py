"""The report: a table that is Markdown as it is, and the same numbers as JSON."""

from collections.abc import Mapping, Sequence
from typing import Any

from tests.bench.figures import Figure

HEADINGS = ("measured", "unit", "ours", "target", "", "plain Celery", "without results")
MARKS = {True: "ok", False: "MISS", None: ""}


def render(figures: Sequence[Figure], machine: Mapping[str, Any]) -> str:
    return "\n".join([*_machine_lines(machine), "", *_table(figures), "", _verdict(figures), ""])


def _machine_lines(machine: Mapping[str, Any]) -> list[str]:
    versions = ", ".join(f"{name} {number}" for name, number in machine["versions"].items())
    load = " ".join(str(value) for value in machine["load_average"])
    hardware = f"{machine['cpu']}, {machine['cores']} cores, {machine['memory_gb']} GB, {machine['system']}"
    return [f"{hardware}, Python {machine['python']}; load average before the run {load}", versions]


def _table(figures: Sequence[Figure]) -> list[str]:
    lines = [HEADINGS, *(_cells(figure) for figure in figures)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(HEADINGS))]
    ruler = tuple("-" * width for width in widths)
    return [_line(cells, widths) for cells in (HEADINGS, ruler, *lines[1:])]


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    first, *rest = zip(cells, widths, strict=True)
    return "| " + " | ".join([first[0].ljust(first[1]), *(cell.rjust(width) for cell, width in rest)]) + " |"


def _cells(figure: Figure) -> tuple[str, ...]:
    row = figure.row
    sign = ">=" if row.at_least else "<="
    return (
        row.name,
        row.unit,
        _number(figure.ours),
        "" if row.target is None else f"{sign} {row.target:g}",
        MARKS[figure.is_met],
        _number(figure.plain),
        _number(figure.no_results),
    )


def _number(value: float | None) -> str:
    if value is None:
        return ""
    return f"{value:.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def _verdict(figures: Sequence[Figure]) -> str:
    judged = [figure for figure in figures if figure.is_met is not None]
    missed = [figure.row.name for figure in judged if not figure.is_met]
    met = f"{len(judged) - len(missed)} of {len(judged)} targets met."
    return f"{met} Missed: {'; '.join(missed)}." if missed else met
