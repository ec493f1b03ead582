"""Tables in their three forms as columns of text, each row with the line on which it begins. Pure."""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from app.agents.data_analyzer.contract import DataInput
from app.agents.data_analyzer.csv_text import LONGEST_CELL, LONGEST_COLUMN_NAME, read_csv
from app.agents.data_analyzer.errors import TableInvalid, at

MOST_ROWS = 50_000
MOST_COLUMNS = 200
MOST_CELLS = 1_000_000


@dataclass(slots=True)
class RawColumn:
    """Cells as text, None for an empty one. ``is_text`` when a string of JSON says that its digits are no number."""

    name: str
    cells: list[str | None] = field(default_factory=list)
    is_text: bool = False


@dataclass(frozen=True, slots=True)
class RawTable:
    columns: list[RawColumn]
    lines: list[int]


def read_table(given: DataInput) -> RawTable:
    """Raises `TableInvalid`."""
    if given.csv is not None:
        table = _from_csv(given.csv, given.delimiter)
    elif given.json_lines is not None:
        table = _from_objects(_parsed_lines(given.json_lines))
    else:
        table = _from_objects(enumerate(given.rows or (), start=1))
    if not table.lines:
        raise TableInvalid("the table has no rows")
    return table


def _from_csv(text: str, delimiter: str | None) -> RawTable:
    header, records = read_csv(text, delimiter)
    _check_width(len(header))
    columns, lines = [RawColumn(name) for name in header], list[int]()
    for record in records:
        _check_height(len(lines) + 1, len(header), record.line)
        lines.append(record.line)
        for column, cell in zip(columns, record.cells, strict=True):
            column.cells.append(cell if cell.strip() else None)
    return RawTable(columns, lines)


def _parsed_lines(text: str) -> Iterator[tuple[int, Any]]:
    for number, line in enumerate(text.removeprefix("\ufeff").split("\n"), start=1):
        if line.strip():
            yield number, _parsed(number, line)


def _parsed(number: int, line: str) -> Any:
    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        members = dict(pairs)
        if len(members) != len(pairs):
            raise at(number, None, None, "the object names a member twice")
        return members

    def refuse(name: str) -> None:
        raise at(number, None, None, f"{name} is not JSON; use null or a string")

    try:
        return json.loads(line, object_pairs_hook=unique, parse_constant=refuse)
    except json.JSONDecodeError as error:
        raise at(number, error.colno, None, f"this is not JSON: {error.msg}") from None
    except (ValueError, RecursionError):
        raise at(number, None, None, "a number is too long or the object is nested too deeply") from None


def _from_objects(rows: Iterable[tuple[int, Any]]) -> RawTable:
    columns, lines = dict[str, RawColumn](), list[int]()
    for line, row in rows:
        if not isinstance(row, dict):
            raise at(line, None, None, 'a row is a JSON object such as {"name": "value"}')
        _add_columns(columns, row, line, height=len(lines))
        _check_height(len(lines) + 1, len(columns), line)
        for name, column in columns.items():
            column.cells.append(_cell(column, row.get(name), line))
        lines.append(line)
    return RawTable(list(columns.values()), lines)


def _add_columns(columns: dict[str, RawColumn], row: Mapping[str, Any], line: int, *, height: int) -> None:
    for name in row:
        if name in columns:
            continue
        if not name.strip() or len(name) > LONGEST_COLUMN_NAME:
            raise at(line, None, name, f"a column's name has 1 to {LONGEST_COLUMN_NAME} characters")
        _check_width(len(columns) + 1)
        columns[name] = RawColumn(name, [None] * height)


def _cell(column: RawColumn, value: Any, line: int) -> str | None:
    match value:
        case None:
            return None
        case bool():
            return "true" if value else "false"
        case str() if len(value) <= LONGEST_CELL:
            column.is_text = True
            return value if value.strip() else None
        case str():
            raise at(line, None, column.name, f"the cell has {len(value)} characters; at most {LONGEST_CELL}")
        case int() | float():
            return str(value)
        case _:
            raise at(line, None, column.name, "a cell is a string, a number, true, false or null")


def _check_width(columns: int) -> None:
    if columns > MOST_COLUMNS:
        raise TableInvalid(f"the table has more than {MOST_COLUMNS} columns")


def _check_height(rows: int, columns: int, line: int) -> None:
    if rows > MOST_ROWS or rows * columns > MOST_CELLS:
        raise at(line, None, None, f"the table has more than {MOST_ROWS} rows or {MOST_CELLS} cells")


def column_names(table: RawTable) -> Sequence[str]:
    return [column.name for column in table.columns]
