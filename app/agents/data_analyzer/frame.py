"""A table with types, as polars holds it."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import polars as pl

from app.agents.data_analyzer.contract import ColumnType, Table
from app.agents.data_analyzer.errors import TableInvalid
from app.agents.data_analyzer.rows import RawColumn, RawTable

# polars runs them in linear time. A number with a leading zero or more than 18 digits is an identifier.
_PATTERNS = {
    ColumnType.BOOLEAN: r"(?i)^(?:true|false)$",
    ColumnType.INTEGER: r"^[+-]?(?:0|[1-9][0-9]{0,17})$",
    ColumnType.NUMBER: r"^[+-]?(?:(?:0|[1-9][0-9]{0,17})(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]{1,3})?$",
}
_DATE = r"^[0-9]{4}-[0-9]{2}-[0-9]{2}$"
_DATETIME = (
    r"^[0-9]{4}-[0-9]{2}-[0-9]{2}[T ][0-9]{2}:[0-9]{2}(?::[0-9]{2}(?:\.[0-9]{1,6})?)?(?:Z|[+-][0-9]{2}:[0-9]{2})?$"
)
_NUMERIC = (ColumnType.INTEGER, ColumnType.NUMBER)
_GUESSED = (ColumnType.BOOLEAN, *_NUMERIC, ColumnType.DATE, ColumnType.DATETIME)
_GUESSED_OF_TEXT = (ColumnType.DATE, ColumnType.DATETIME)
# What a spreadsheet would take for a formula: `=`, `@`, or a sign before what is no number.
_FORMULA = r"^[=@]|^[+-][^0-9.]"


@dataclass(frozen=True, slots=True)
class Column:
    """``raw`` is the text that was handed in, ``values`` the same as what ``type`` says."""

    name: str
    type: ColumnType
    raw: pl.Series
    values: pl.Series

    @property
    def is_numeric(self) -> bool:
        return self.type in _NUMERIC


@dataclass(frozen=True, slots=True)
class Frame:
    columns: Mapping[str, Column]
    lines: Sequence[int]

    @property
    def described(self) -> Table:
        return Table(rows=len(self.lines), columns=list(self.columns))

    def get(self, name: str) -> Column:
        """Raises `TableInvalid` that lists the columns there are."""
        if name not in self.columns:
            known = ", ".join(list(self.columns)[:20])
            raise TableInvalid(f"the table has no column {name[:40]!r}; it has {known[:300]}")
        return self.columns[name]

    def get_numeric(self, name: str) -> Column:
        """Raises `TableInvalid`, with the first cell that is no number."""
        column = self.get(name)
        if column.is_numeric:
            return column
        wrong = (column.raw.is_not_null() & ~readable_as(column.raw, ColumnType.NUMBER)).arg_true()
        first = f": line {self.lines[wrong[0]]} has none" if len(wrong) else ""
        raise TableInvalid(f"column {name[:40]!r} has to hold numbers{first}")

    def select(self, names: Iterable[str] | None) -> list[Column]:
        return list(self.columns.values()) if names is None else [self.get(name) for name in names]

    def formula_cells(self) -> int:
        found = (column.raw.str.contains(_FORMULA).sum() for column in self.columns.values())
        return sum(int(number or 0) for number in found)


def type_columns(table: RawTable) -> Frame:
    """Each column in the first type that every one of its cells has; text when there is no other."""
    return Frame({raw.name: _typed(raw) for raw in table.columns}, table.lines)


def readable_as(raw: pl.Series, kind: ColumnType) -> pl.Series:
    """Whether each cell is of this type; null where there is none."""
    match kind:
        case ColumnType.TEXT:
            return raw.is_not_null()
        case ColumnType.DATE:
            return raw.str.contains(_DATE) & (_dates(raw).is_not_null() | raw.is_null())
        case ColumnType.DATETIME:
            return raw.str.contains(_DATETIME) & (_datetimes(raw).is_not_null() | raw.is_null())
        case ColumnType.NUMBER:
            return raw.str.contains(_PATTERNS[kind]) & raw.cast(pl.Float64, strict=False).is_finite()
        case _:
            return raw.str.contains(_PATTERNS[kind])


def as_numbers(raw: pl.Series) -> pl.Series:
    """Null where the cell is empty or no number."""
    return pl.select(pl.when(readable_as(raw, ColumnType.NUMBER)).then(raw.cast(pl.Float64, strict=False))).to_series()


def _typed(column: RawColumn) -> Column:
    raw = pl.Series(column.name, column.cells, dtype=pl.String)
    guesses = _GUESSED_OF_TEXT if column.is_text else _GUESSED
    kind = ColumnType.TEXT
    if raw.null_count() < len(raw):
        kind = next((one for one in guesses if readable_as(raw, one).all()), ColumnType.TEXT)
    return Column(column.name, kind, raw, _values(raw, kind))


def _values(raw: pl.Series, kind: ColumnType) -> pl.Series:
    match kind:
        case ColumnType.BOOLEAN:
            return raw.str.to_lowercase() == "true"
        case ColumnType.INTEGER:
            return raw.str.strip_prefix("+").cast(pl.Int64)
        case ColumnType.NUMBER:
            return raw.cast(pl.Float64)
        case ColumnType.DATE:
            return _dates(raw)
        case ColumnType.DATETIME:
            return _datetimes(raw)
        case _:
            return raw


def _dates(raw: pl.Series) -> pl.Series:
    return raw.str.to_date("%Y-%m-%d", strict=False)


def _datetimes(raw: pl.Series) -> pl.Series:
    """In UTC; one without an offset is taken for UTC."""
    spaced = raw.str.replace(" ", "T", literal=True).str.replace(r"(T[0-9]{2}:[0-9]{2})($|Z|[+-])", "${1}:00${2}")
    zoned = spaced.str.replace(r"Z$", "+00:00").str.replace(r"(T[0-9:.]+)$", "${1}+00:00")
    return zoned.str.to_datetime("%Y-%m-%dT%H:%M:%S%.f%:z", strict=False, time_zone="UTC")
