"""MongoDB's wire protocol: OP_MSG, and the OP_QUERY that old handshakes begin with.

Source: https://www.mongodb.com/docs/manual/reference/mongodb-wire-protocol/
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass

import bson

from app.devstack.store.documents import Document, decode

MAX_MESSAGE_BYTES = 48_000_000

_HEADER = struct.Struct("<iiii")
_LENGTH = struct.Struct("<i")
_FLAGS = struct.Struct("<I")
_QUERY_REPLY = struct.Struct("<iqii")

_OP_REPLY = 1
_OP_QUERY = 2004
_OP_MSG = 2013

_CHECKSUM_PRESENT = 1
_MORE_TO_COME = 2
_REQUIRED_FLAGS = 0xFFFF


class MalformedMessage(Exception):
    """What arrived is not a message of this protocol; the connection cannot be understood any further."""


@dataclass(frozen=True, slots=True)
class Message:
    """``documents`` of an insert stay encoded, as they are stored."""

    request_id: int
    body: bytes
    sequences: dict[str, list[bytes]]
    wants_reply: bool
    is_legacy: bool

    def fields(self) -> Document:
        """Raises :class:`BadValue` when the command is not BSON."""
        fields = decode(self.body)
        if self.is_legacy:
            # Only a handshake is sent this way, whatever its spelling.
            return {"hello": 1}
        for name, raws in self.sequences.items():
            fields[name] = raws if name == "documents" else [decode(raw) for raw in raws]
        return fields


def message_length(buffer: bytes | bytearray, start: int = 0) -> int:
    """Raises :class:`MalformedMessage` for a length no message has."""
    length: int = _LENGTH.unpack_from(buffer, start)[0]
    if not _HEADER.size < length <= MAX_MESSAGE_BYTES:
        raise MalformedMessage(f"a message of {length} bytes")
    return length


def parse(data: bytes) -> Message:
    """Raises :class:`MalformedMessage`."""
    _, request_id, _, operation = _HEADER.unpack_from(data)
    try:
        if operation == _OP_MSG:
            return _parse_message(request_id, data)
        if operation == _OP_QUERY:
            return _parse_query(request_id, data)
    except (struct.error, ValueError, IndexError) as error:
        raise MalformedMessage(f"cannot parse a message: {error}") from error
    raise MalformedMessage(f"unknown operation {operation}")


def _parse_message(request_id: int, data: bytes) -> Message:
    flags: int = _FLAGS.unpack_from(data, _HEADER.size)[0]
    if flags & _REQUIRED_FLAGS & ~(_CHECKSUM_PRESENT | _MORE_TO_COME):
        raise MalformedMessage(f"unknown flags {flags:#x}")
    end = len(data) - (4 if flags & _CHECKSUM_PRESENT else 0)
    position = _HEADER.size + 4
    bodies: list[bytes] = []
    sequences: dict[str, list[bytes]] = {}
    while position < end:
        kind = data[position]
        section = _slice(data, position + 1, end)
        if kind == 0:
            bodies.append(section)
        elif kind == 1:
            name_end = section.index(b"\0", 4)
            sequences[section[4:name_end].decode()] = list(_documents(section, name_end + 1))
        else:
            raise MalformedMessage(f"unknown kind of section {kind}")
        position += 1 + len(section)
    if len(bodies) != 1:
        raise MalformedMessage(f"{len(bodies)} bodies in one message")
    return Message(request_id, bodies[0], sequences, not flags & _MORE_TO_COME, is_legacy=False)


def _parse_query(request_id: int, data: bytes) -> Message:
    name_end = data.index(b"\0", _HEADER.size + 4)
    if not data[_HEADER.size + 4 : name_end].endswith(b".$cmd"):
        raise MalformedMessage("OP_QUERY is only understood as a handshake")
    body = _slice(data, name_end + 1 + 8, len(data))
    return Message(request_id, body, {}, wants_reply=True, is_legacy=True)


def _documents(section: bytes, position: int) -> Iterator[bytes]:
    while position < len(section):
        raw = _slice(section, position, len(section))
        yield raw
        position += len(raw)


def _slice(data: bytes, position: int, end: int) -> bytes:
    """The length-prefixed piece at a position."""
    length: int = _LENGTH.unpack_from(data, position)[0]
    if length < 5 or position + length > end:
        raise MalformedMessage(f"a piece of {length} bytes at {position} of {end}")
    return data[position : position + length]


def reply(message: Message, fields: Document, reply_id: int) -> bytes:
    body = bson.encode(fields)
    if message.is_legacy:
        length = _HEADER.size + _QUERY_REPLY.size + len(body)
        head = _HEADER.pack(length, reply_id, message.request_id, _OP_REPLY)
        return head + _QUERY_REPLY.pack(8, 0, 0, 1) + body
    length = _HEADER.size + 5 + len(body)
    return _HEADER.pack(length, reply_id, message.request_id, _OP_MSG) + b"\0\0\0\0\0" + body
