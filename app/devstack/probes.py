"""Is it ready? One cheap question to each kind of part, answered with yes or no and never with an exception."""

import asyncio

from pymongo import AsyncMongoClient
from pymongo.errors import PyMongoError

from app.devstack.part import Probe

_PATIENCE = 2.0
LOOPBACK = "127.0.0.1"


def mongo_answers(port: int) -> Probe:
    async def probe() -> bool:
        # A refused connection is noticed here in a millisecond; the driver would wait half a second to try again.
        return await _first_line(port, b"") is not None and await _mongo_ping(port)

    return probe


async def _mongo_ping(port: int) -> bool:
    milliseconds = int(_PATIENCE * 1000)
    client: AsyncMongoClient[dict[str, object]] = AsyncMongoClient(
        LOOPBACK, port, directConnection=True, serverSelectionTimeoutMS=milliseconds, socketTimeoutMS=milliseconds
    )
    try:
        await client.admin.command("ping")
    except PyMongoError:
        return False
    finally:
        await client.close()
    return True


def redis_answers(port: int) -> Probe:
    async def probe() -> bool:
        return (await _first_line(port, b"PING\r\n") or b"").startswith(b"+PONG")

    return probe


def http_answers(port: int, path: str, host: str = LOOPBACK) -> Probe:
    question = f"GET {path} HTTP/1.0\r\nHost: {host}\r\n\r\n".encode()

    async def probe() -> bool:
        words = (await _first_line(port, question, host) or b"").split()
        return len(words) > 1 and words[1] == b"200"

    return probe


async def _first_line(port: int, question: bytes, host: str = LOOPBACK) -> bytes | None:
    """The first line of the answer (empty when nothing was asked), or None when nobody listens or answers in time."""
    try:
        async with asyncio.timeout(_PATIENCE):
            reader, writer = await asyncio.open_connection(host, port)
            try:
                writer.write(question)
                return await reader.readline() if question else b""
            finally:
                writer.close()
    except (OSError, TimeoutError, ValueError):
        return None
