"""The tools of MCP servers. What a server says is checked, cut and believed in nothing.

Only the worker of a deployment that configures servers imports this: the SDK takes most of a second.
"""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import Any

import anyio
import structlog
from mcp import Client, MCPError
from mcp.types import (
    CONNECTION_CLOSED,
    INTERNAL_ERROR,
    INVALID_REQUEST,
    REQUEST_TIMEOUT,
    CallToolRequest,
    CallToolRequestParams,
    CallToolResult,
    TextContent,
)
from mcp.types import Tool as ListedTool
from pydantic import ValidationError

from app.agents.tools.arguments import ArgumentsCheck, plain
from app.agents.tools.errors import ToolFailed, ToolNotReached, ToolNotUsable, ToolUnavailable
from app.agents.tools.mcp_connection import McpConnection
from app.agents.tools.mcp_transport import create_client
from app.agents.tools.models import MCP_PREFIX, SideEffect, ToolCall, ToolDescription
from app.agents.tools.tool import Tool
from app.setting_mcp import McpServer

log = structlog.get_logger(__name__)

LONGEST_DESCRIPTION = 1024
LONGEST_ERROR = 2000
MOST_PAGES = 20
# A server may be started again with other tools.
LISTING_SECONDS = 300.0
# With these the transport reports a broken connection, an answer of 5xx and a session that is gone.
_GONE = frozenset({CONNECTION_CLOSED, REQUEST_TIMEOUT, INTERNAL_ERROR, INVALID_REQUEST})
_BROKEN = (anyio.ClosedResourceError, anyio.BrokenResourceError, anyio.EndOfStream, OSError)


class McpTools:
    """The allowed tools of all configured servers; their names are `mcp.<server>.<tool>`."""

    def __init__(self, servers: Mapping[str, McpServer]) -> None:
        self._servers = {name: McpServerTools(name, server) for name, server in servers.items()}

    async def get_tool(self, name: str) -> Tool:
        server_name, _, tool = name.removeprefix(MCP_PREFIX).partition(".")
        if server_name not in self._servers:
            raise ToolNotUsable(f"{name}: MCP_SERVERS has no server {server_name!r}")
        return await self._servers[server_name].get_tool(tool)

    async def close(self) -> None:
        await asyncio.gather(*(server.close() for server in self._servers.values()))


class McpServerTools:
    """One server: its connection, and what it last said of its tools."""

    def __init__(self, name: str, server: McpServer) -> None:
        self._name = name
        self._server = server
        self._connection = McpConnection(name, partial(create_client, server))
        self._listed: dict[str, ListedTool] = {}
        self._usable: dict[str, McpTool] = {}
        self._listed_by: Client | None = None
        self._listed_at = 0.0

    async def get_tool(self, tool_name: str) -> "McpTool":
        """Raises `ToolNotReached`, or `ToolNotUsable` for a tool that is not there or described in an unusable way."""
        client = await self._connection.connect()
        if self._is_stale(client):
            await self._list(client)
        if tool_name not in self._listed:
            raise ToolNotUsable(f"MCP server {self._name!r} has no tool {tool_name!r}: correct `allow` in MCP_SERVERS")
        if tool_name not in self._usable:
            self._usable[tool_name] = self._tool(self._listed[tool_name])
        return self._usable[tool_name]

    async def prove_alive(self) -> None:
        """Raises `ToolNotReached`: whatever breaks here, no tool was called."""
        await self._list(await self._connection.connect())

    async def call(self, tool_name: str, arguments: dict[str, Any]) -> CallToolResult:
        client = await self._connection.connect()
        request = CallToolRequest(params=CallToolRequestParams(name=tool_name, arguments=arguments))
        shown = f"{MCP_PREFIX}{self._name}.{tool_name}"
        try:
            # Not `call_tool`: that looks at the result with a schema and patterns of the server.
            result = await client.session.send_request(request, CallToolResult)
        except MCPError as error:
            if error.code in _GONE:
                self._connection.drop(client)
                raise ToolUnavailable(f"{shown}: the server broke the connection") from error
            told = error.message[:LONGEST_ERROR]
            raise ToolFailed(f"{shown}: the server answered with error {error.code}", output=told) from error
        except ValidationError as error:
            raise ToolFailed(f"{shown}: the server's answer is malformed") from error
        except _BROKEN as error:
            self._connection.drop(client)
            raise ToolUnavailable(f"{shown}: the server broke the connection") from error
        self._connection.note_success()
        return result

    async def close(self) -> None:
        await self._connection.close()

    def _is_stale(self, client: Client) -> bool:
        age = asyncio.get_running_loop().time() - self._listed_at
        return client is not self._listed_by or age > LISTING_SECONDS

    async def _list(self, client: Client) -> None:
        try:
            async with asyncio.timeout(self._server.timeout_sec):
                listed = await _all_tools(client)
        except (MCPError, ValidationError, TimeoutError, *_BROKEN) as error:
            self._connection.drop(client)
            kind = type(error).__name__
            raise ToolNotReached(f"MCP server {self._name!r} does not list its tools ({kind})") from error
        self._listed, self._usable = {tool.name: tool for tool in listed if tool.name in self._server.tools}, {}
        self._listed_by, self._listed_at = client, asyncio.get_running_loop().time()
        self._connection.note_success()

    def _tool(self, listed: ListedTool) -> "McpTool":
        name = f"{MCP_PREFIX}{self._name}.{listed.name}"
        effect = SideEffect.NONE if listed.name in self._server.read_only else SideEffect.EXTERNAL
        text = (listed.description or "")[:LONGEST_DESCRIPTION]
        return McpTool(
            ToolDescription(name, text, listed.input_schema, effect),
            timedelta(seconds=self._server.timeout_sec),
            False,
            self,
            listed.name,
            ArgumentsCheck(name, listed.input_schema, trusted=False),
        )


@dataclass(frozen=True, slots=True)
class McpTool(Tool):
    """Whether it has effects says the operator's `read_only`: a server's own hints are not evidence."""

    server: McpServerTools
    tool_name: str
    schema: ArgumentsCheck

    def check(self, arguments: Mapping[str, Any]) -> dict[str, Any]:
        given = plain(self.name, arguments)
        self.schema.check(given)
        return given

    async def prepare(self) -> None:
        await self.server.prove_alive()

    async def run(self, arguments: dict[str, Any], call: ToolCall) -> Any:  # noqa: ARG002 - the protocol has no key
        result = await self.server.call(self.tool_name, arguments)
        output = _output_of(result)
        if result.is_error:
            raise ToolFailed(f"{self.name} reports an error", output=str(output)[:LONGEST_ERROR])
        return output


async def _all_tools(client: Client) -> list[ListedTool]:
    tools: list[ListedTool] = []
    cursor: str | None = None
    for _ in range(MOST_PAGES):
        page = await client.list_tools(cursor=cursor)
        tools += page.tools
        cursor = page.next_cursor
        if cursor is None:
            break
    return tools


def _output_of(result: CallToolResult) -> Any:
    """The data, else the texts; images and other blobs are named only."""
    if result.structured_content is not None:
        return result.structured_content
    parts = (part.text if isinstance(part, TextContent) else f"[{part.type} left out]" for part in result.content)
    return "\n".join(parts)
