"""A tool that can be called, and where tools come from."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Protocol

from app.agents.tools.models import SideEffect, ToolCall, ToolDescription


@dataclass(frozen=True, slots=True)
class Tool(ABC):
    """`timeout` bounds one call; `receiver_deduplicates` is as in `ToolSpec`."""

    description: ToolDescription
    timeout: timedelta
    receiver_deduplicates: bool

    @property
    def name(self) -> str:
        return self.description.name

    @property
    def is_effect(self) -> bool:
        return self.description.side_effect is SideEffect.EXTERNAL

    @abstractmethod
    def check(self, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """The arguments as they are sent. Raises `ToolArgumentsInvalid`."""

    @abstractmethod
    async def prepare(self) -> None:
        """Do what can fail before anything happens outside. Raises `ToolNotReached`."""

    @abstractmethod
    async def run(self, arguments: dict[str, Any], call: ToolCall) -> Any:
        """Plain JSON data. Raises `ExecutionError`."""


class ToolGuard(Protocol):
    """Says of every call, before it is made, whether it may be."""

    async def check(self, tool: ToolDescription, arguments: Mapping[str, Any]) -> Mapping[str, Any]:
        """The arguments to call with. Raises `ExecutionError` for a call that may not be made, or not yet."""
        ...


class ToolSource(Protocol):
    async def get_tool(self, name: str) -> Tool:
        """Raises `ToolNotUsable` or `ToolUnavailable`."""
        ...

    async def close(self) -> None: ...
