"""A model provider that streams over a real socket what a test says, when it says it."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
USAGE = {"prompt_tokens": 7, "completion_tokens": 5, "total_tokens": 12}
PATIENCE = 10


@dataclass
class Call:
    """One request, which is answered piece by piece."""

    request: dict[str, Any]
    _writer: asyncio.StreamWriter
    is_over: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def connection(self) -> int:
        """The client's port."""
        port: int = self._writer.get_extra_info("peername")[1]
        return port

    async def say(self, *pieces: str) -> None:
        for piece in pieces:
            await self.send_chunk({"choices": [{"index": 0, "delta": {"content": piece}, "finish_reason": None}]})

    async def finish(self, *, reason: str | None = "stop", usage: dict[str, Any] | None = USAGE) -> None:
        if reason is not None:
            await self.send_chunk({"choices": [{"index": 0, "delta": {}, "finish_reason": reason}]})
        if usage is not None:
            await self.send_chunk({"choices": [], "usage": usage})
        await self.send(b"data: [DONE]\n\n")
        await self._write(b"0\r\n\r\n")
        self.is_over.set()

    async def send_chunk(self, chunk: dict[str, Any]) -> None:
        # Unescaped, as some providers send it.
        content = json.dumps({"model": self.request["model"], **chunk}, ensure_ascii=False)
        await self.send(f"data: {content}\n\n".encode())

    async def send(self, part: bytes) -> None:
        await self._write(b"%x\r\n%s\r\n" % (len(part), part))

    def drop(self) -> None:
        """Break the connection in the middle of the answer."""
        self._writer.transport.abort()
        self.is_over.set()

    async def _write(self, data: bytes) -> None:
        self._writer.write(data)
        await self._writer.drain()


class StreamingProvider:
    def __init__(self) -> None:
        self.url = ""
        self._calls: asyncio.Queue[Call] = asyncio.Queue()

    async def next_call(self) -> Call:
        """The next request, as soon as it has come."""
        async with asyncio.timeout(PATIENCE):
            return await self._calls.get()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = int(head.lower().partition(b"content-length:")[2].split(b"\r\n", 1)[0])
                call = Call(json.loads(await reader.readexactly(length)), writer)
                writer.write(HEAD)
                self._calls.put_nowait(call)
                await call.is_over.wait()
        except (asyncio.IncompleteReadError, ConnectionError):
            return  # Whoever asked has gone.
        finally:
            writer.transport.abort()


@asynccontextmanager
async def streaming_provider() -> AsyncIterator[StreamingProvider]:
    provider = StreamingProvider()
    serving: set[asyncio.Task[None]] = set()

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        serving.add(asyncio.ensure_future(provider.serve(reader, writer)))

    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    provider.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"
    try:
        yield provider
    finally:
        server.close()
        for one in serving:
            one.cancel()
        await asyncio.gather(*serving, return_exceptions=True)
