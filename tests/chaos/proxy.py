"""A TCP proxy on loopback between a process and its store or broker: slow, frozen, cut off or refusing on demand."""

import asyncio
import contextlib
import random
import threading
from collections.abc import Callable
from typing import TypeVar

from app.devstack.ports import free_ports

T = TypeVar("T")
CHUNK = 64 * 1024
PATIENCE = 5.0


class Proxy:
    """Runs in a thread of its own from its making to `close`."""

    def __init__(self, upstream_port: int) -> None:
        self.port = free_ports(1)[0]
        self._upstream_port = upstream_port
        self._latency = 0.0
        self._loss = 0.0
        self._is_refusing = False
        self._connections: set[asyncio.Task[None]] = set()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="chaos-proxy", daemon=True)
        self._thread.start()
        self._flows = self._do(asyncio.Event)
        self.thaw()
        self._server = asyncio.run_coroutine_threadsafe(
            asyncio.start_server(self._serve, "127.0.0.1", self.port), self._loop
        ).result(PATIENCE)

    def delay(self, seconds: float) -> None:
        """Hold everything back for so long, each way."""
        self._latency = seconds

    def lose(self, share: float) -> None:
        """Break the connection instead of passing something on, this often: a request is lost, or only its answer."""
        self._loss = share

    def freeze(self) -> None:
        """Connections stay, nothing passes: what a lost network looks like."""
        self._do(self._flows.clear)

    def thaw(self) -> None:
        self._do(self._flows.set)

    def abandon(self) -> None:
        """Let nothing pass any more on today's connections, which stay; new ones work: a router that forgot them."""

        def replace() -> None:
            self._flows.clear()
            self._flows = asyncio.Event()
            self._flows.set()

        self._do(replace)

    def reset(self) -> None:
        """Break every connection; new ones are welcome."""
        self._do(self._cancel_all)

    def refuse(self) -> None:
        """Break every connection and each new one."""
        self._is_refusing = True
        self.reset()

    def accept(self) -> None:
        self._is_refusing = False

    def heal(self) -> None:
        self.delay(0)
        self.lose(0)
        self.accept()
        self.thaw()

    def close(self) -> None:
        asyncio.run_coroutine_threadsafe(self._close(), self._loop).result(PATIENCE)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(PATIENCE)
        self._loop.close()

    def _do(self, call: Callable[[], T]) -> T:
        async def on_the_loop() -> T:
            return call()

        return asyncio.run_coroutine_threadsafe(on_the_loop(), self._loop).result(PATIENCE)

    def _cancel_all(self) -> None:
        for connection in self._connections:
            connection.cancel()

    async def _close(self) -> None:
        self._server.close()
        self._cancel_all()
        await asyncio.gather(*self._connections, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = asyncio.current_task()
        assert connection is not None
        self._connections.add(connection)
        try:
            await self._connect(reader, writer)
        except (OSError, asyncio.CancelledError):
            return
        finally:
            await _shut(writer)
            # Only now: whoever closes the proxy waits for these, and then ends the loop.
            self._connections.discard(connection)

    async def _connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._is_refusing:
            return
        upstream_reader, upstream_writer = await asyncio.open_connection("127.0.0.1", self._upstream_port)
        flows = self._flows
        pumps = [
            asyncio.ensure_future(self._pump(reader, upstream_writer, flows)),
            asyncio.ensure_future(self._pump(upstream_reader, writer, flows)),
        ]
        try:
            # When either side is done the connection is: none of our protocols closes half of one.
            await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for pump in pumps:
                pump.cancel()
            await asyncio.gather(*pumps, return_exceptions=True)
            await _shut(upstream_writer)

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, flows: asyncio.Event) -> None:
        while chunk := await reader.read(CHUNK):
            if self._latency:
                await asyncio.sleep(self._latency)
            await flows.wait()
            if random.random() < self._loss:
                return
            writer.write(chunk)
            await writer.drain()


async def _shut(writer: asyncio.StreamWriter) -> None:
    # Without a farewell, as a broken network does it.
    writer.transport.abort()
    with contextlib.suppress(OSError, asyncio.CancelledError):
        await writer.wait_closed()
