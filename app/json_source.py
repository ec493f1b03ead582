"""JSON text to data with places, as strict as `json.loads` and within limits."""

import json
import re
from bisect import bisect_right
from typing import NoReturn

from app.source_tree import Fault, Limits, SourceInvalid, SourceTree, TreeBuilder, integer_of

_SPACE = re.compile(r"[ \t\n\r]*")
_LINE = re.compile(r"\r\n|\n|\r")


class NotJson(SourceInvalid):
    """It breaks the grammar of JSON, so it may be something else."""


def read_json(text: str, limits: Limits) -> SourceTree:
    """Raises `NotJson`, or `SourceInvalid` for JSON that cannot be taken. The size was checked before."""
    return _Reader(text, limits).read()


class _Reader:
    def __init__(self, text: str, limits: Limits) -> None:
        self._text = text
        self._builder = TreeBuilder(limits)
        self._lines = [0, *(found.end() for found in _LINE.finditer(text))]
        self._scalars = json.JSONDecoder(parse_int=integer_of)

    def read(self) -> SourceTree:
        try:
            end = self._value(self._skip(0))
        except json.JSONDecodeError as error:
            self._stop(error.pos, error.msg[:1].lower() + error.msg[1:])
        if end != len(self._text):
            self._stop(end, "there is more after the end of the document")
        return self._builder.tree()

    # It calls itself once per level, and the builder allows few.
    def _value(self, at: int) -> int:
        """Past the value and the space after it."""
        match self._text[at : at + 1]:
            case "{":
                return self._members(at)
            case "[":
                return self._items(at)
            case _:
                return self._scalar(at)

    def _scalar(self, at: int) -> int:
        value, end = self._scalars.raw_decode(self._text, at)
        self._builder.scalar(value, *self._place(at))
        return self._skip(end)

    def _members(self, at: int) -> int:
        self._builder.begin({}, *self._place(at))
        at = self._skip(at + 1)
        if self._text[at : at + 1] != "}":
            at = self._member(at)
            while self._text[at : at + 1] == ",":
                at = self._member(self._skip(at + 1))
        return self._closed(at, "}")

    def _member(self, at: int) -> int:
        if self._text[at : at + 1] != '"':
            self._stop(at, "expecting a key in double quotes")
        at = self._scalar(at)
        if self._text[at : at + 1] != ":":
            self._stop(at, "expecting ':' after the key")
        return self._value(self._skip(at + 1))

    def _items(self, at: int) -> int:
        self._builder.begin([], *self._place(at))
        at = self._skip(at + 1)
        if self._text[at : at + 1] != "]":
            at = self._value(at)
            while self._text[at : at + 1] == ",":
                at = self._value(self._skip(at + 1))
        return self._closed(at, "]")

    def _closed(self, at: int, closer: str) -> int:
        if self._text[at : at + 1] != closer:
            self._stop(at, f"expecting ',' or '{closer}'")
        self._builder.end()
        return self._skip(at + 1)

    def _skip(self, at: int) -> int:
        found = _SPACE.match(self._text, at)
        return found.end() if found else at

    def _place(self, at: int) -> tuple[int, int]:
        line = bisect_right(self._lines, at)
        return line, at - self._lines[line - 1] + 1

    def _stop(self, at: int, message: str) -> NoReturn:
        raise NotJson(Fault(*self._place(at), (), f"it is not JSON: {message}", None))
