"""The asyncio side: connections, the expiry pass, signals."""

import asyncio
import logging
import signal
import time
from collections.abc import Callable
from itertools import count
from typing import cast

from app.devstack.store.commands import Commands
from app.devstack.store.compaction import Compaction
from app.devstack.store.errors import DiskFull, StoreError
from app.devstack.store.wire import MalformedMessage, message_length, parse, reply

log = logging.getLogger(__name__)

# MongoDB's own pass runs once a minute; nobody waits that long for a demonstration.
_EXPIRY_SECONDS = 2.0

_LENGTH_BYTES = 4

_reply_ids = count(1)


class Connection(asyncio.Protocol):
    """One client. What it sends wrong ends this connection and nothing else."""

    def __init__(self, commands: Commands, open_connections: "set[Connection]") -> None:
        self._commands = commands
        self._open = open_connections
        self._buffer = bytearray()
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports are no subclasses of asyncio's.
        self._transport = cast("asyncio.Transport", transport)
        self._open.add(self)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - the protocol's signature
        self._open.discard(self)
        self._transport = None

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()

    def pause_writing(self) -> None:
        # A client that does not read its answers gets to ask no more.
        if self._transport is not None:
            self._transport.pause_reading()

    def resume_writing(self) -> None:
        if self._transport is not None:
            self._transport.resume_reading()

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        try:
            while len(self._buffer) >= _LENGTH_BYTES:
                length = message_length(self._buffer)
                if len(self._buffer) < length:
                    return
                message = bytes(self._buffer[:length])
                del self._buffer[:length]
                self._answer(message)
        except MalformedMessage as error:
            log.warning("store.connection_closed: %s", error)
            self.close()

    def _answer(self, data: bytes) -> None:
        message = parse(data)
        try:
            answer = self._commands.run(message.fields())
        except StoreError as error:
            answer = error.as_reply()
        if message.wants_reply and self._transport is not None:
            self._transport.write(reply(message, answer, next(_reply_ids)))


async def serve(
    commands: Commands, compaction: Compaction, host: str, port: int, announce: Callable[[int], None]
) -> None:
    """Runs until SIGTERM or SIGINT; ``announce`` is called with the port once clients can connect."""
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    connections: set[Connection] = set()
    server = await loop.create_server(lambda: Connection(commands, connections), host, port)
    announce(server.sockets[0].getsockname()[1])
    chores = [asyncio.create_task(_expire(commands)), asyncio.create_task(compaction.run_for_ever())]
    await stop.wait()
    compaction.stop()
    for chore in chores:
        chore.cancel()
    server.close()
    for connection in list(connections):
        connection.close()
    await asyncio.gather(*chores, return_exceptions=True)


async def _expire(commands: Commands) -> None:
    while True:
        await asyncio.sleep(_EXPIRY_SECONDS)
        try:
            commands.expire(time.monotonic())
            commands.warn_when_full()
        except DiskFull:
            continue  # The journal has said so; what expired is still there next time.
        except Exception:
            log.exception("store.expiry_failed")
