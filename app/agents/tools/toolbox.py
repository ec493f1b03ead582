"""The tools of one run: allowed by name, checked, bounded in time and size, and external ones fired once."""

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping, Sequence, Set
from dataclasses import replace
from datetime import timedelta
from typing import Any, TypeVar

import structlog

from app.agents.specs import AgentSpec
from app.agents.tools.allowing import tools_of
from app.agents.tools.errors import (
    ToolFailed,
    ToolNotAllowed,
    ToolNotReached,
    ToolNotUsable,
    ToolTimeout,
    ToolUnavailable,
)
from app.agents.tools.models import (
    MCP_PREFIX,
    Toolbox,
    ToolCall,
    ToolDescription,
    ToolResult,
    shown,
)
from app.agents.tools.tool import Tool, ToolGuard, ToolSource
from app.effects.tool import Effects
from app.setting_mcp import McpServer

log = structlog.get_logger(__name__)
T = TypeVar("T")

# In bytes of JSON. The ledger of effects keeps results, and takes no more than 16 KiB.
LARGEST_RESULT = 64 * 1024
LARGEST_EFFECT = 14 * 1024


class Toolboxes:
    """One per worker; every run gets a toolbox of its own."""

    def __init__(self, functions: ToolSource, mcp: ToolSource | None, servers: Mapping[str, McpServer]) -> None:
        """Without ``mcp`` no server is configured."""
        self._functions = functions
        self._mcp = mcp
        self._servers = servers

    def open(self, spec: AgentSpec, call: ToolCall, *, effects: Effects, guard: ToolGuard | None = None) -> Toolbox:
        """Without a ``guard`` the agent may make every call of its own tools."""
        return RunToolbox(spec.name, tools_of(spec, self._servers), self._get_tool, call, effects, guard)

    async def close(self) -> None:
        await self._functions.close()
        if self._mcp is not None:
            await self._mcp.close()

    async def _get_tool(self, name: str) -> Tool:
        source = self._mcp if self._mcp is not None and name.startswith(MCP_PREFIX) else self._functions
        return await source.get_tool(name)


class RunToolbox:
    """The tools of one run of one agent."""

    def __init__(
        self,
        agent_name: str,
        names: Set[str],
        get_tool: Callable[[str], Awaitable[Tool]],
        call: ToolCall,
        effects: Effects,
        guard: ToolGuard | None,
    ) -> None:
        self._agent_name = agent_name
        self._names = names
        self._get_tool = get_tool
        self._call = call
        self._effects = effects
        self._guard = guard

    @property
    def names(self) -> Set[str]:
        return self._names

    async def describe(self) -> Sequence[ToolDescription]:
        described = []
        for name in sorted(self._names):
            try:
                described.append((await self._get_tool(name)).description)
            except (ToolUnavailable, ToolNotUsable) as error:
                log.warning("tool.not_described", tool=name, reason=error.message)
        return described

    async def call(self, name: str, arguments: Mapping[str, Any], *, step: str | None = None) -> ToolResult:
        if name not in self._names:
            log.warning("tool.not_allowed", tool=shown(name), agent=self._agent_name)
            raise ToolNotAllowed(f"{self._agent_name} may not call {shown(name)}: {_way_to_allow(name)}")
        tool = await self._get_tool(name)
        checked = tool.check(arguments)
        if self._guard is not None:
            checked = tool.check(await self._guard.check(tool.description, checked))
        return await (self._perform(tool, checked, step) if tool.is_effect else self._ask(tool, checked))

    async def _ask(self, tool: Tool, arguments: dict[str, Any]) -> ToolResult:
        output = await _within(tool.timeout, tool.run(arguments, self._call), tool.name)
        return fitted(tool.name, output, most=LARGEST_RESULT)

    async def _perform(self, tool: Tool, arguments: dict[str, Any], step: str | None) -> ToolResult:
        async def fire(key: str) -> dict[str, Any]:
            await _prepared(tool)
            call = replace(self._call, key=key)
            result = fitted(
                tool.name, await _within(tool.timeout, tool.run(arguments, call), tool.name), most=LARGEST_EFFECT
            )
            return {"content": result.content, "is_cut": result.is_cut}

        performed = await self._effects.perform(
            tool.name, arguments, fire, receiver_deduplicates=tool.receiver_deduplicates, step=step
        )
        # A person who says that it happened cannot say what came back.
        kept = performed.result or {"content": None, "is_cut": False}
        return ToolResult(tool.name, kept["content"], _as_text(kept["content"]), kept["is_cut"])


def fitted(name: str, output: Any, *, most: int) -> ToolResult:
    """The output as it is, or the beginning of its text. Raises `ToolFailed` for what is not JSON."""
    try:
        size = _size(output)
    except (TypeError, ValueError, RecursionError) as error:
        raise ToolFailed(f"{name} returned something that is not plain JSON data") from error
    text = _as_text(output)
    if size <= most:
        return ToolResult(name, output, text)
    while (size := _size(text)) > most:
        text = text[: len(text) * most // size]
    return ToolResult(name, text, text, is_cut=True)


def _size(value: Any) -> int:
    # As the ledger of effects writes it: with every letter beyond ASCII escaped.
    return len(json.dumps(value, separators=(",", ":"), allow_nan=False))


def _as_text(content: Any) -> str:
    return content if isinstance(content, str) else json.dumps(content, ensure_ascii=False, separators=(",", ":"))


async def _within(limit: timedelta, work: Awaitable[T], name: str) -> T:
    try:
        async with asyncio.timeout(limit.total_seconds()) as allowed:
            return await work
    except TimeoutError as error:
        if not allowed.expired():
            raise
        raise ToolTimeout(f"{name} gave no result in {limit.total_seconds():g} s") from error


async def _prepared(tool: Tool) -> None:
    try:
        await _within(tool.timeout, tool.prepare(), tool.name)
    except ToolTimeout as error:
        raise ToolNotReached(f"{tool.name} cannot be reached in time") from error


def _way_to_allow(name: str) -> str:
    if name.startswith(MCP_PREFIX):
        return "`allow` in MCP_SERVERS does not give it to this agent"
    return "it is not among the `tools` of the agent's spec"
