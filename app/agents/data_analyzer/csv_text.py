"""CSV as RFC 4180 has it, read with the place of everything that is wrong. Pure.

Python's reader accepts ragged rows and unclosed quotes, and cannot say in which column an error is.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from app.agents.data_analyzer.errors import at

LONGEST_CELL = 32 * 1024
LONGEST_COLUMN_NAME = 128
DELIMITERS = (",", ";", "\t", "|")
_MARK = "\ufeff"


@dataclass(frozen=True, slots=True)
class Record:
    """One row; a quoted cell may make it several lines long."""

    line: int
    cells: list[str]


def read_csv(text: str, delimiter: str | None) -> tuple[list[str], Iterator[Record]]:
    """The header and the rows behind it, each as long as the header. Raises `TableInvalid`, also while iterating."""
    text = text.removeprefix(_MARK).replace("\r\n", "\n").replace("\r", "\n")
    records = _records(text, delimiter or _guess(text))
    first = next(records, None)
    if first is None:
        raise at(1, None, None, "the CSV is empty: it needs a header line and at least one row")
    header = [name.strip() for name in first.cells]
    _check_header(first.line, header)
    return header, _even(header, records)


def _guess(text: str) -> str:
    """The delimiter that the first line has most of; the comma when it has none."""
    first = next((line for line in text.split("\n", 1000) if line.strip()), "")
    return max(DELIMITERS, key=first.count)


def _check_header(line: int, header: Sequence[str]) -> None:
    seen: dict[str, int] = {}
    for number, name in enumerate(header, start=1):
        if not name:
            raise at(line, number, None, "the header has no name for this column")
        if len(name) > LONGEST_COLUMN_NAME:
            raise at(line, number, name, f"a column's name has at most {LONGEST_COLUMN_NAME} characters")
        if name in seen:
            raise at(line, number, name, f"column {seen[name]} has the same name")
        seen[name] = number


def _even(header: Sequence[str], records: Iterator[Record]) -> Iterator[Record]:
    for record in records:
        found, wanted = len(record.cells), len(header)
        if found < wanted:
            raise at(record.line, found + 1, header[found], f"the row has {found} cells, the header has {wanted}")
        if found > wanted:
            raise at(record.line, wanted + 1, None, f"the row has {found} cells, the header has {wanted}")
        yield record


def _records(text: str, delimiter: str) -> Iterator[Record]:
    """Rows as they are written; lines with nothing on them are none."""
    mark = re.escape(delimiter)
    cell = re.compile(rf'(?:"(?P<quoted>[^"]*(?:""[^"]*)*)"|(?P<plain>(?!")[^{mark}\n]*))(?P<end>{mark}|\n|\Z)')
    at_character, line, cells, begun_on = 0, 1, list[str](), 1
    while at_character < len(text) or cells:
        found = cell.match(text, at_character)
        if found is None:
            raise _unreadable(text, at_character, line, len(cells) + 1)
        value = _value(found)
        if len(value) > LONGEST_CELL:
            raise at(line, len(cells) + 1, None, f"the cell has {len(value)} characters; at most {LONGEST_CELL}")
        cells.append(value)
        line += text.count("\n", at_character, found.end())
        at_character = found.end()
        if found["end"] != delimiter:
            if cells != [""] or found["quoted"] is not None:
                yield Record(begun_on, cells)
            cells, begun_on = [], line


def _value(found: re.Match[str]) -> str:
    return found["plain"] if found["quoted"] is None else found["quoted"].replace('""', '"')


def _unreadable(text: str, start: int, line: int, column: int) -> Exception:
    closing = re.compile(r'"[^"]*(?:""[^"]*)*"').match(text, start)
    if closing is None:
        return at(line, column, None, "the cell begins with a quote that is never closed")
    line += text.count("\n", start, closing.end())
    return at(line, column, None, 'there is text behind the closing quote; write a quote within quotes as ""')
