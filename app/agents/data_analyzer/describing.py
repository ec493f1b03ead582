"""`profile`, `statistics` and `group`: what is in a table, in numbers."""

from datetime import date, datetime
from typing import Any

import polars as pl

from app.agents.data_analyzer.contract import (
    LONGEST_SHOWN,
    Aggregate,
    Aggregation,
    ColumnProfile,
    ColumnStatistics,
    DataInput,
    Frequent,
    Group,
    Grouping,
    Profile,
    Statistics,
)
from app.agents.data_analyzer.frame import Column, Frame

MOST_GROUPS = 1000
MOST_FREQUENT = 5
_ROWS_ONLY = Aggregation(function=Aggregate.COUNT)


def profile(frame: Frame, given: DataInput) -> Profile:
    """The columns in their order; what is most frequent by count, then by value."""
    table = pl.DataFrame([column.raw for column in frame.columns.values()])
    return Profile(
        operation="profile",
        table=frame.described,
        duplicate_rows=table.height - table.n_unique(),
        formula_cells=frame.formula_cells(),
        columns=[_profile_of(column) for column in frame.select(given.columns)],
    )


def statistics(frame: Frame, given: DataInput) -> Statistics:
    """Of the columns named, or of all that hold numbers. Raises `TableInvalid` for a named one that does not."""
    columns = list(frame.columns.values())
    if given.columns is not None:
        columns = [frame.get_numeric(name) for name in given.columns]
    return Statistics(
        operation="statistics",
        table=frame.described,
        columns=[_statistics_of(column) for column in columns if column.is_numeric],
        skipped=[column.name for column in columns if not column.is_numeric],
    )


def group(frame: Frame, given: DataInput) -> Grouping:
    """Groups in the order of their first rows; the first `MOST_GROUPS` of them."""
    aggregations = given.aggregations or [_ROWS_ONLY]
    keys = [frame.get(name).raw.alias(f"key {number}") for number, name in enumerate(given.by)]
    cells = [_cells(frame, one).alias(f"cells {number}") for number, one in enumerate(aggregations)]
    expressions = [
        aggregate(one, pl.col(f"cells {number}")).alias(str(number)) for number, one in enumerate(aggregations)
    ]
    found = (
        pl.DataFrame([*keys, *cells])
        .group_by([key.name for key in keys], maintain_order=True)
        .agg(pl.len().alias("rows"), *expressions)
    )
    return Grouping(
        operation="group",
        table=frame.described,
        by=given.by,
        aggregations=[one.name for one in aggregations],
        groups=[_group(row, len(keys)) for row in found.head(MOST_GROUPS).iter_rows()],
        groups_total=found.height,
    )


def aggregate(one: Aggregation, cells: pl.Expr) -> pl.Expr:
    """The sum of nothing is 0; every other aggregate of nothing is null."""
    match one.function:
        case Aggregate.COUNT:
            return pl.len() if one.column is None else cells.count()
        case Aggregate.SUM:
            return cells.sum()
        case Aggregate.MEAN:
            return cells.mean()
        case Aggregate.MEDIAN:
            return cells.median()
        case Aggregate.MIN:
            return cells.min()
        case Aggregate.MAX:
            return cells.max()


def _cells(frame: Frame, one: Aggregation) -> pl.Series:
    match one.function:
        case Aggregate.COUNT:
            return pl.Series([None] * len(frame.lines)) if one.column is None else frame.get(one.column).raw
        case Aggregate.MIN | Aggregate.MAX:
            return frame.get(str(one.column)).values
        case _:
            return frame.get_numeric(str(one.column)).values.cast(pl.Float64)


def _group(row: tuple[Any, ...], keys: int) -> Group:
    return Group(
        key=[_shown(key) for key in row[:keys]], count=row[keys], values=[_value(cell) for cell in row[keys + 1 :]]
    )


def _value(cell: Any) -> float | str | None:
    return _rounded(float(cell)) if isinstance(cell, int | float) and not isinstance(cell, bool) else _shown(cell)


def _profile_of(column: Column) -> ColumnProfile:
    counted = column.raw.drop_nulls().alias("value").value_counts(name="count")
    frequent = counted.sort(["count", "value"], descending=[True, False]).head(MOST_FREQUENT)
    return ColumnProfile(
        name=column.name,
        type=column.type,
        nulls=column.raw.null_count(),
        distinct=counted.height,
        min=_shown(column.values.min()),
        max=_shown(column.values.max()),
        most_frequent=[Frequent(value=value[:LONGEST_SHOWN], count=count) for value, count in frequent.iter_rows()],
    )


def _statistics_of(column: Column) -> ColumnStatistics:
    numbers = column.values.drop_nulls().cast(pl.Float64)
    quartiles = [numbers.quantile(share, interpolation="linear") for share in (0.25, 0.5, 0.75)]
    return ColumnStatistics(
        name=column.name,
        count=len(numbers),
        nulls=column.raw.null_count(),
        sum=_number(numbers.sum()),
        mean=_number(numbers.mean()),
        std=_number(numbers.std()),
        min=_number(numbers.min()),
        p25=_number(quartiles[0]),
        median=_number(quartiles[1]),
        p75=_number(quartiles[2]),
        max=_number(numbers.max()),
    )


def _number(value: Any) -> float | None:
    return None if value is None else _rounded(float(value))


def _rounded(value: float) -> float | None:
    """Ten significant digits, so that the order of an addition shows nowhere; None for what JSON has no number for."""
    return float(f"{value:.10g}") if abs(value) < float("inf") else None


def _shown(value: Any) -> str | None:
    if value is None:
        return None
    if isinstance(value, bool):
        return "true" if value else "false"
    return (value.isoformat() if isinstance(value, date | datetime) else str(value))[:LONGEST_SHOWN]
