"""The syntax tree of an expression, as the CEL library's own parser gives it.

The library hands a compiled expression out as a `cel.expr.ParsedExpr` or `CheckedExpr` message. What is read here are
the few fields of these messages that say what an expression refers to and of which types it is, see
https://github.com/google/cel-spec/tree/master/proto/cel/expr.
"""

import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

_VARINT, _FIXED64, _LENGTH, _FIXED32 = 0, 1, 2, 5
_CHECKED = b"cel.expr.CheckedExpr"
_CONSTANTS = {1: "null", 2: "boolean", 3: "integer", 4: "integer", 5: "number", 6: "string", 7: "bytes"}
_PRIMITIVES = {1: "boolean", 2: "integer", 3: "integer", 4: "number", 5: "string"}


@dataclass(frozen=True, slots=True)
class Constant:
    """``type`` is that of JSON, or `bytes`."""

    place: int
    type: str
    value: Any


@dataclass(frozen=True, slots=True)
class Name:
    place: int
    name: str


@dataclass(frozen=True, slots=True)
class Member:
    """``is_test``: it only says whether the member is there, as `has` does."""

    place: int
    operand: "Node"
    name: str
    is_test: bool = False


@dataclass(frozen=True, slots=True)
class Call:
    place: int
    function: str
    target: "Node | None"
    arguments: tuple["Node", ...]
    type: str | None

    @property
    def operands(self) -> tuple["Node", ...]:
        return self.arguments if self.target is None else (self.target, *self.arguments)


@dataclass(frozen=True, slots=True)
class Items:
    """A list as it is written."""

    place: int
    items: tuple["Node", ...]


@dataclass(frozen=True, slots=True)
class Entries:
    """A map as it is written."""

    place: int
    entries: tuple[tuple["Node", "Node"], ...]


@dataclass(frozen=True, slots=True)
class Fold:
    """What `map`, `filter`, `all`, `exists` and their like become: a result is gathered over the items of a range."""

    place: int
    variable: str
    range: "Node"
    gathered: str
    initial: "Node"
    condition: "Node"
    step: "Node"
    result: "Node"


Node = Constant | Name | Member | Call | Items | Entries | Fold


@dataclass(frozen=True, slots=True)
class _Reader:
    places: Mapping[int, int]
    types: Mapping[int, str]
    names: Mapping[str, str]

    def node(self, message: bytes) -> Node:
        fields = dict(_fields(message))
        number = fields.get(2, 0)
        place = self.places.get(number, 0)
        if 4 in fields:
            name = _text(fields[4], 1).removeprefix(".")
            return Name(place, self.names.get(name, name))
        if 5 in fields:
            select = dict(_fields(fields[5]))
            return Member(place, self.node(select[1]), _text(fields[5], 2), bool(select.get(3)))
        if 6 in fields:
            return self._call(place, fields[6], self.types.get(number))
        return self._literal(place, fields)

    def _literal(self, place: int, fields: Mapping[int, Any]) -> Node:
        if 7 in fields:
            return Items(place, tuple(self.node(value) for key, value in _fields(fields[7]) if key == 1))
        if 8 in fields:
            entries = [dict(_fields(value)) for key, value in _fields(fields[8]) if key == 2]
            return Entries(place, tuple((self._key(entry), self.node(entry[4])) for entry in entries))
        if 9 in fields:
            fold = dict(_fields(fields[9]))
            parts = [self.node(fold[number]) for number in (2, 4, 5, 6, 7)]
            return Fold(place, _text(fields[9], 1), parts[0], _text(fields[9], 3), *parts[1:])
        return _constant(place, fields[3])

    def _key(self, entry: Mapping[int, Any]) -> Node:
        return self.node(entry[3]) if 3 in entry else Constant(0, "string", entry[2].decode())

    def _call(self, place: int, message: bytes, type_: str | None) -> Call:
        fields = list(_fields(message))
        target = next((self.node(value) for key, value in fields if key == 1), None)
        arguments = tuple(self.node(value) for key, value in fields if key == 3)
        return Call(place, _text(message, 2), target, arguments, type_)


def read_tree(serialized: bytes, names: Mapping[str, str]) -> Node:
    """``serialized`` is what `Expression.serialize` gives; types are those of a checked expression. ``names`` gives
    variables other names.
    """
    wrapper = dict(_fields(serialized))
    message = dict(_fields(wrapper[2]))
    is_checked = wrapper[1].endswith(_CHECKED)
    expression, source = (message[4], message.get(5, b"")) if is_checked else (message[2], message.get(3, b""))
    types = {} if not is_checked else dict(_types(wrapper[2]))
    return _Reader(dict(_places(source)), types, names).node(expression)


def nodes_of(node: Node) -> Iterator[Node]:
    """The node and all below it."""
    yield node
    for child in children_of(node):
        yield from nodes_of(child)


def children_of(node: Node) -> tuple[Node, ...]:
    match node:
        case Member():
            return (node.operand,)
        case Call():
            return node.operands
        case Items():
            return node.items
        case Entries():
            return tuple(part for entry in node.entries for part in entry)
        case Fold():
            return (node.range, node.initial, node.condition, node.step, node.result)
        case Constant() | Name():
            return ()


def _fields(message: bytes) -> Iterator[tuple[int, Any]]:
    """Number and value of each field of a Protocol Buffers message."""
    at = 0
    while at < len(message):
        key, at = _varint(message, at)
        number, kind = key >> 3, key & 7
        if kind == _VARINT:
            value, at = _varint(message, at)
            yield number, value
            continue
        if kind == _LENGTH:
            length, at = _varint(message, at)
        else:
            length = {_FIXED64: 8, _FIXED32: 4}[kind]
        yield number, message[at : at + length]
        at += length


def _varint(message: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = message[at]
        value |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            return value, at


def _text(message: bytes, number: int) -> str:
    return next((bytes(value).decode() for key, value in _fields(message) if key == number), "")


def _constant(place: int, message: bytes) -> Constant:
    number, value = next(_fields(message))
    type_ = _CONSTANTS.get(number, "bytes")
    if type_ == "string":
        return Constant(place, type_, value.decode())
    if type_ == "number":
        return Constant(place, type_, struct.unpack("<d", value)[0])
    if type_ == "integer":
        # Negative numbers are written as 64 bits in two's complement.
        return Constant(place, type_, value - 2**64 if number == 3 and value >= 2**63 else value)
    return Constant(place, type_, {"boolean": bool(value), "null": None}.get(type_, value))


def _places(source: bytes) -> Iterator[tuple[int, int]]:
    for key, value in _fields(source):
        if key == 4:
            entry = dict(_fields(value))
            yield entry.get(1, 0), entry.get(2, 0)


def _types(checked: bytes) -> Iterator[tuple[int, str]]:
    for key, value in _fields(checked):
        if key == 3:
            entry = dict(_fields(value))
            if (name := _type_name(dict(_fields(entry.get(2, b""))))) is not None:
                yield entry.get(1, 0), name


def _type_name(fields: Mapping[int, Any]) -> str | None:
    if 3 in fields:
        return _PRIMITIVES.get(fields[3])
    return next((name for number, name in ((2, "null"), (6, "array"), (7, "object")) if number in fields), None)
