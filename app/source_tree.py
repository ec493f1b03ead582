"""What was read from a text, with the place of every part: filled event by event, within limits."""

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NoReturn

Path = tuple[str | int, ...]

MOST_FAULTS = 100
LARGEST_INTEGER = 2**63 - 1
LONGEST_INTEGER = 100
# Neither can be stored or sent as UTF-8 text everywhere.
_UNSTORABLE = re.compile("[\0\ud800-\udfff]")


@dataclass(frozen=True, slots=True)
class Limits:
    """Of a text in bytes of UTF-8, of what is in it in levels and values."""

    size: int
    depth: int
    values: int = 100_000


@dataclass(frozen=True, slots=True)
class Fault:
    """``line`` and ``column`` count from 1."""

    line: int
    column: int
    path: Path
    message: str
    fix: str | None = None

    @property
    def told(self) -> str:
        return f"{self.message}: {self.fix}" if self.fix else self.message


class SourceInvalid(ValueError):
    """A text that cannot be read, with every reason that was found."""

    def __init__(self, *faults: Fault) -> None:
        super().__init__("; ".join(f"{fault.line}:{fault.column}: {fault.told}" for fault in faults))
        self.faults = faults


@dataclass(frozen=True, slots=True)
class SourceTree:
    """Plain JSON data, and line and column of each part: of a member's key, or of an item."""

    value: Any
    places: Mapping[Path, tuple[int, int]]


@dataclass(slots=True)
class _Open:
    container: dict[str, Any] | list[Any]
    path: Path
    key: str | None = None


@dataclass(slots=True)
class TreeBuilder:
    """Takes begins, ends and scalars in the order of the text. Limits are kept at once; `tree` tells the faults."""

    limits: Limits
    _value: Any = None
    _places: dict[Path, tuple[int, int]] = field(default_factory=dict)
    _open: list[_Open] = field(default_factory=list)
    _faults: list[Fault] = field(default_factory=list)
    _values: int = 0

    def begin(self, container: dict[str, Any] | list[Any], line: int, column: int) -> None:
        if self._awaits_key:
            self._stop(line, column, self._path, "a key must be a text", "write one word before the colon")
        path = self._put(container, line, column)
        self._open.append(_Open(container, path))
        if len(self._open) > self.limits.depth:
            fix = f"at most {self.limits.depth} levels are taken"
            self._stop(line, column, path, "it is nested too deeply", fix)

    def end(self) -> None:
        self._open.pop()

    def scalar(self, value: Any, line: int, column: int) -> None:
        if self._awaits_key:
            self._begin_member(value, line, column)
        else:
            path = self._put(value, line, column)
            self._check_scalar(value, line, column, path)

    def fault(self, line: int, column: int, message: str, fix: str) -> None:
        self._note(line, column, self._path, message, fix)

    def tree(self) -> SourceTree:
        """Raises `SourceInvalid` with the faults, if any."""
        if self._faults:
            raise SourceInvalid(*self._faults)
        return SourceTree(self._value, self._places)

    @property
    def _awaits_key(self) -> bool:
        return bool(self._open) and isinstance(self._open[-1].container, dict) and self._open[-1].key is None

    @property
    def _path(self) -> Path:
        """Of what comes next."""
        if not self._open:
            return ()
        inner = self._open[-1]
        if isinstance(inner.container, list):
            return (*inner.path, len(inner.container))
        return inner.path if inner.key is None else (*inner.path, inner.key)

    def _begin_member(self, key: Any, line: int, column: int) -> None:
        inner = self._open[-1]
        if not isinstance(key, str):
            self.fault(line, column, f"the key {_shown(key)} is not a text", "put it in quotes")
            key = _shown(key)
        self._check_scalar(key, line, column, (*inner.path, key))
        if key in inner.container:
            first = self._places[(*inner.path, key)][0]
            self.fault(line, column, f"{key[:80]} is there twice", f"it is in line {first} already")
        else:
            self._places[(*inner.path, key)] = (line, column)
        inner.key = key

    def _put(self, value: Any, line: int, column: int) -> Path:
        self._values += 1
        if self._values > self.limits.values:
            fix = f"at most {self.limits.values} are taken"
            self._stop(line, column, self._path, "it has too many values", fix)
        if not self._open:
            self._value = value
            self._places[()] = (line, column)
            return ()
        inner = self._open[-1]
        if isinstance(inner.container, list):
            path: Path = (*inner.path, len(inner.container))
            inner.container.append(value)
            self._places[path] = (line, column)
            return path
        key, inner.key = inner.key or "", None
        inner.container.setdefault(key, value)
        return (*inner.path, key)

    def _check_scalar(self, value: Any, line: int, column: int, path: Path) -> None:
        if isinstance(value, str) and _UNSTORABLE.search(value):
            self._note(line, column, path, "a text holds NUL or half a character", "leave it out")
        elif isinstance(value, float) and not math.isfinite(value):
            self._note(line, column, path, "a number is not finite", "write another, or quotes around a text")
        elif isinstance(value, int) and not -LARGEST_INTEGER <= value <= LARGEST_INTEGER:
            self._note(line, column, path, "a whole number has more than 64 bits", "put it in quotes")

    def _note(self, line: int, column: int, path: Path, message: str, fix: str) -> None:
        self._faults.append(Fault(line, column, path, message, fix))
        if len(self._faults) == MOST_FAULTS:
            raise SourceInvalid(*self._faults)

    def _stop(self, line: int, column: int, path: Path, message: str, fix: str) -> NoReturn:
        raise SourceInvalid(*self._faults, Fault(line, column, path, message, fix))


def integer_of(digits: str) -> int:
    """Thousands of digits take long to convert, and are refused anyway."""
    return int(digits) if len(digits) <= LONGEST_INTEGER else LARGEST_INTEGER + 1


def _shown(key: Any) -> str:
    return json.dumps(key)[:80]
