"""What arrives on the embedded store's socket and is not what a driver sends."""

import socket
import struct
from typing import Any

import bson
import pytest
from pymongo import MongoClient

from tests.processes import Server


def frame(body: bytes, operation: int = 2013) -> bytes:
    return struct.pack("<iiii", 16 + len(body), 1, 0, operation) + body


@pytest.mark.parametrize(
    "garbage",
    [
        b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
        struct.pack("<i", -5),
        struct.pack("<iiii", 48_000_001, 1, 0, 2013),
        struct.pack("<iiii", 16, 1, 0, 2013),
        frame(b"\0\0\0\0"),
        frame(b"\0\0"),
        frame(b"\0\0\0\0\x07" + bson.encode({"ping": 1})),
        frame(b"\0\0\0\0\0" + struct.pack("<i", 1 << 30) + b"x" * 20),
        frame(b"\0\0\0\0\1" + struct.pack("<i", 12) + b"noend" + b"x" * 3),
        frame(b"\x04\0\0\0\0" + bson.encode({"ping": 1})),
        frame(bson.encode({"ping": 1}), operation=2012),
        frame(b"\0\0\0\0no terminator", operation=2004),
    ],
    ids=[
        "http",
        "negative length",
        "too long",
        "empty",
        "no body",
        "half flags",
        "unknown section",
        "section too long",
        "sequence without name",
        "unknown flag",
        "compressed",
        "bad query",
    ],
)
def test_garbage_ends_its_own_connection_and_no_other(store: Server, garbage: bytes) -> None:
    with (
        MongoClient[dict[str, Any]](store.mongo_uri) as client,
        socket.create_connection(("127.0.0.1", store.port), timeout=5) as rude,
    ):
        client.admin.command("ping")

        rude.sendall(garbage)

        assert rude.recv(1) == b""
        assert client.admin.command("ping")["ok"] == 1.0


def test_a_command_that_is_no_bson_gets_an_error_and_the_connection_goes_on(store: Server) -> None:
    bad = b"\0\0\0\0\0" + struct.pack("<i", 12) + b"\x02ab\0xyz\0"
    with socket.create_connection(("127.0.0.1", store.port), timeout=5) as connection:
        for _ in range(2):
            connection.sendall(frame(bad))
            header = connection.recv(16, socket.MSG_WAITALL)
            reply = bson.decode(connection.recv(struct.unpack("<i", header[:4])[0] - 16, socket.MSG_WAITALL)[5:])
            assert (reply["ok"], reply["codeName"]) == (0.0, "BadValue")
