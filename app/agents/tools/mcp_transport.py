"""How a worker reaches an MCP server: over HTTP to one place, or a program of its own over its pipes."""

import ipaddress
import subprocess
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from typing import TextIO, cast
from urllib.parse import urlsplit

import httpx2
from mcp import Client
from mcp.client._transport import Transport, TransportStreams
from mcp.client.stdio import StdioServerParameters, stdio_client
from mcp.client.streamable_http import streamable_http_client
from mcp.types import Implementation

from app.setting_mcp import McpServer
from app.version import VERSION

LARGEST_ANSWER = 1024 * 1024
_CONNECT_SECONDS = 5.0
_IDENTITY = Implementation(name="agent-orchestrator", version=VERSION)


def create_client(server: McpServer) -> Client:
    """Not connected yet. It offers the server nothing back: no sampling, no questions to people, no folders."""
    # No cache: it would outlive a server that is started again with other tools.
    return Client(_transport(server), client_info=_IDENTITY, cache=None)


def _transport(server: McpServer) -> Transport:
    return _http(server, server.url) if server.url is not None else _program(server)


@asynccontextmanager
async def _http(server: McpServer, url: str) -> AsyncGenerator[TransportStreams, None]:
    """The SDK follows redirects only within the origin of the URL."""
    headers = {name: value.get_secret_value() for name, value in server.headers.items()}
    async with (
        httpx2.AsyncClient(
            # Compressed, a small answer could become a huge one.
            headers={**headers, "Accept-Encoding": "identity"},
            # How long a call may take is bounded by whoever waits for it; a timeout here would break the session.
            timeout=httpx2.Timeout(None, connect=_CONNECT_SECONDS),
            trust_env=not _is_loopback(url),
            event_hooks={"response": [_bound]},
        ) as client,
        streamable_http_client(url, http_client=client, max_sse_event_size=LARGEST_ANSWER) as streams,
    ):
        yield streams


def _program(server: McpServer) -> Transport:
    """In a process group of its own, with only harmless variables of this process besides those configured.

    The SDK ends the group when the connection is closed. What the program writes to its standard error is discarded,
    since it could hold anything.
    """
    command = server.command or ()
    parameters = StdioServerParameters(
        command=command[0],
        args=list(command[1:]),
        env={name: value.get_secret_value() for name, value in server.env.items()},
    )
    return stdio_client(parameters, errlog=cast("TextIO", subprocess.DEVNULL))


async def _bound(response: httpx2.Response) -> None:
    # Of a stream of events the SDK bounds each event.
    if not response.headers.get("Content-Type", "").lower().startswith("text/event-stream"):
        response.stream = _BoundedStream(cast("httpx2.AsyncByteStream", response.stream))


class _BoundedStream(httpx2.AsyncByteStream):
    """Fails as a stream does that breaks off, which costs this one answer and not the session."""

    def __init__(self, stream: httpx2.AsyncByteStream) -> None:
        self._stream = stream

    async def __aiter__(self) -> AsyncIterator[bytes]:
        left = LARGEST_ANSWER
        async for chunk in self._stream:
            left -= len(chunk)
            if left < 0:
                raise httpx2.StreamError(f"the answer has more than {LARGEST_ANSWER} bytes")
            yield chunk

    async def aclose(self) -> None:
        await self._stream.aclose()


def _is_loopback(url: str) -> bool:
    host = urlsplit(url).hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
