"""Reading tables: every fault is told by its line and column."""

import csv
import io
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.agents.data_analyzer.contract import ColumnType, DataInput
from app.agents.data_analyzer.csv_text import LONGEST_CELL
from app.agents.data_analyzer.errors import TableInvalid
from app.agents.data_analyzer.frame import type_columns
from app.agents.data_analyzer.rows import MOST_COLUMNS, MOST_ROWS, RawTable, read_table


def a_table(**fields: Any) -> RawTable:
    return read_table(DataInput.model_validate_json(json.dumps(fields)))


def cells_of(table: RawTable) -> dict[str, list[str | None]]:
    return {column.name: column.cells for column in table.columns}


def fault_in(text: str) -> str | None:
    try:
        table = a_table(csv=text)
    except TableInvalid as error:
        return error.message
    assert all(len(column.cells) == len(table.lines) for column in table.columns)
    return None


def type_of(*cells: str) -> ColumnType:
    text = "a,b\n" + "".join(f"{cell},x\n" for cell in cells)
    return type_columns(a_table(csv=text)).columns["a"].type


@pytest.mark.parametrize(
    ("text", "cells"),
    [
        ("\ufeffa,b\r\n1,2\r\n", {"a": ["1"], "b": ["2"]}),
        ("a;b\n1,5;2\n", {"a": ["1,5"], "b": ["2"]}),
        ('a,b\n"x, ""y""\nz",2', {"a": ['x, "y"\nz'], "b": ["2"]}),
        ("a,b\n\n1,\n\n", {"a": ["1"], "b": [None]}),
        ('a\n""\n1\n', {"a": [None, "1"]}),
        (' a , b \n5" pipe,=1+1\n', {"a": ['5" pipe'], "b": ["=1+1"]}),
        ("a|b\n1|2", {"a": ["1"], "b": ["2"]}),
        ("a\r1\r2\r", {"a": ["1", "2"]}),
    ],
    ids=["mark", "semicolons", "quotes", "blank lines", "empty quoted", "loose", "bars", "old Mac"],
)
def test_csv_is_read_as_it_is_written(text: str, cells: dict[str, list[str | None]]) -> None:
    assert cells_of(a_table(csv=text)) == cells


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "line 1: the CSV is empty"),
        ("\n \n", "line 2, column 1: the header has no name"),
        ("a,b\n", "the table has no rows"),
        ("a,,c\n1,2,3\n", "line 1, column 2: the header has no name"),
        ("a,b,a\n1,2,3\n", r"line 1, column 3 \(a\): column 1 has the same name"),
        ("a,b\n1,2\n3\n", r"line 3, column 2 \(b\): the row has 1 cells, the header has 2"),
        ("a,b\n1,2,3\n", "line 2, column 3: the row has 3 cells, the header has 2"),
        ('a,b\n"1\n2",3\n4,"5\n', "line 4, column 2: the cell begins with a quote that is never closed"),
        ('a,b\n1,"2" x\n', "line 2, column 2: there is text behind the closing quote"),
        (f"a\n{'x' * (LONGEST_CELL + 1)}\n", f"line 2, column 1: the cell has {LONGEST_CELL + 1} characters"),
        (f"{'x' * 129}\n1\n", "line 1, column 1 .*at most 128 characters"),
        (",".join(f"c{number}" for number in range(MOST_COLUMNS + 1)) + "\n", "more than 200 columns"),
        ("a\n" + "1\n" * (MOST_ROWS + 1), f"line {MOST_ROWS + 2}: the table has more than {MOST_ROWS} rows"),
    ],
    ids=lambda value: None if len(value) > 60 else repr(value),
)
def test_a_fault_in_csv_is_told_by_its_line_and_column(text: str, told: str) -> None:
    with pytest.raises(TableInvalid, match=told):
        a_table(csv=text)


_CELLS = st.text(st.characters(exclude_categories=("Cs", "Cc"), include_characters="\n\"',;"), max_size=8)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.lists(_CELLS, min_size=3, max_size=3), min_size=1, max_size=5))
def test_whatever_pythons_writer_writes_is_read_back(rows: list[list[str]]) -> None:
    text = io.StringIO()
    writer = csv.writer(text, quoting=csv.QUOTE_ALL)
    writer.writerows([["a", "b", "c"], *rows])

    read = a_table(csv=text.getvalue(), delimiter=",")

    expected = [[cell if cell.strip() else None for cell in row] for row in rows]
    assert [list(row) for row in zip(*(column.cells for column in read.columns), strict=True)] == expected


@settings(max_examples=100, deadline=None)
@given(st.text(st.sampled_from('a1",;\n\r \ufeff'), max_size=40))
def test_any_text_is_a_table_or_a_fault_with_a_place(text: str) -> None:
    fault = fault_in(text)

    assert fault is None or "line" in fault or fault == "the table has no rows"


def test_objects_may_lack_members_and_keep_the_types_they_came_with() -> None:
    rows = [{"zip": "01067", "n": 1}, {"zip": "10115", "n": 2.5, "late": True}, {"n": None}]

    frame = type_columns(a_table(rows=rows))

    assert {name: column.type for name, column in frame.columns.items()} == {
        "zip": ColumnType.TEXT,
        "n": ColumnType.NUMBER,
        "late": ColumnType.BOOLEAN,
    }
    assert frame.columns["late"].values.to_list() == [None, True, None]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ('{"a": 1}\n\n{"a": }\n', "line 3, column 7: this is not JSON"),
        ('{"a": 1}\n[2]\n', "line 2: a row is a JSON object"),
        ('{"a": 1, "a": 2}\n', "line 1: the object names a member twice"),
        ('{"a": NaN}\n', "line 1: NaN is not JSON"),
        ('{"a": {"b": 1}}\n', r"line 1 \(a\): a cell is a string"),
        ('{"a": ' + "[" * 100_000, "line 1: a number is too long or the object is nested too deeply"),
        ('{" ": 1}\n', "line 1 .*1 to 128 characters"),
        ("", "the table has no rows"),
    ],
    ids=["no value", "list", "twice", "NaN", "nested", "bomb", "no name", "empty"],
)
def test_a_fault_in_json_lines_is_told_by_its_line(text: str, told: str) -> None:
    with pytest.raises(TableInvalid, match=told):
        a_table(json_lines=text)


@pytest.mark.parametrize(
    ("cells", "type_"),
    [
        (("1", "+2", "-3", ""), ColumnType.INTEGER),
        (("1", "2.5", "1e3", ".5"), ColumnType.NUMBER),
        (("007", "1"), ColumnType.TEXT),
        (("1234567890123456789",), ColumnType.TEXT),
        (("1e999",), ColumnType.TEXT),
        (("nan", "inf"), ColumnType.TEXT),
        (("true", "FALSE"), ColumnType.BOOLEAN),
        (("2026-01-31", ""), ColumnType.DATE),
        (("2026-02-30",), ColumnType.TEXT),
        (("2026-01-01T10:00:00Z", "2026-01-01 10:00", "2026-01-01T10:00:00.5+02:00"), ColumnType.DATETIME),
        (("2026-01-01T25:00:00Z",), ColumnType.TEXT),
        (("1", "x"), ColumnType.TEXT),
        (("", ""), ColumnType.TEXT),
    ],
    ids=str,
)
def test_a_column_has_the_type_that_all_of_its_cells_have(cells: tuple[str, ...], type_: ColumnType) -> None:
    assert type_of(*cells) is type_
