"""What a tool says of itself, and tools as an agent sees them. Light on purpose: the API process imports this."""

import html
import re
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, field
from datetime import timedelta
from enum import StrEnum
from typing import Any, Protocol

from pydantic import BaseModel

from app.agents.tools.errors import ToolNotAllowed

# A tool's name becomes the name of an effect, which allows the same.
TOOL_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_.-]{0,63}")
MCP_PREFIX = "mcp."


class SideEffect(StrEnum):
    """Whether a call changes something outside. What does is written down and never fired twice by our doing."""

    NONE = "none"
    EXTERNAL = "external"


@dataclass(frozen=True, slots=True)
class ToolSpec:
    """A tool of an installed package; one of `input_model` and `input_schema` (JSON Schema) says what it takes.

    `factory` is `package.module:function`, imported only by the worker: an `async` function of the checked arguments
    (an `input_model`, else a dictionary) and a `ToolCall`, which returns plain JSON data. `receiver_deduplicates` says
    that an external effect may be repeated under the same `ToolCall.key`. `timeout` bounds one call.
    """

    name: str
    description: str
    factory: str
    side_effect: SideEffect
    input_model: type[BaseModel] | None = None
    input_schema: Mapping[str, Any] | None = None
    timeout: timedelta = timedelta(seconds=30)
    receiver_deduplicates: bool = False


@dataclass(frozen=True, slots=True)
class ToolCall:
    """Who calls. `key` is the stable key of an external effect, for the receiver's `Idempotency-Key`."""

    tenant_id: str
    task_id: str
    key: str | None = None


@dataclass(frozen=True, slots=True)
class ToolDescription:
    """A tool for a prompt. What an MCP server wrote here is as little to be trusted as its results."""

    name: str
    description: str
    input_schema: Mapping[str, Any]
    side_effect: SideEffect


@dataclass(frozen=True, slots=True)
class ToolResult:
    """`content` is plain JSON data from outside: material, never instructions. What was too long is a cut text."""

    name: str
    content: Any
    text: str
    is_cut: bool = False

    def as_material(self) -> str:
        """For a prompt: escaped, so that it cannot close its own tag and speak as somebody else."""
        return f'<tool_result tool="{html.escape(self.name)}">{html.escape(self.text, quote=False)}</tool_result>'


class Toolbox(Protocol):
    """The tools an agent may call in one run."""

    @property
    def names(self) -> Set[str]: ...

    async def describe(self) -> Sequence[ToolDescription]:
        """Those that can be called now, for a prompt; a tool whose server is away is left out."""
        ...

    async def call(self, name: str, arguments: Mapping[str, Any], *, step: str | None = None) -> ToolResult:
        """Raises what `app.agents.tools.errors` lists, and for external effects what `Effects.perform` raises.

        An external call happens once for its name and `arguments` (or `step`), however many attempts the task takes.
        """
        ...


@dataclass(frozen=True, slots=True)
class NoTools:
    """For runs without tools."""

    names: Set[str] = field(default_factory=frozenset)

    async def describe(self) -> Sequence[ToolDescription]:
        return ()

    async def call(self, name: str, arguments: Mapping[str, Any], *, step: str | None = None) -> ToolResult:  # noqa: ARG002
        raise ToolNotAllowed(f"this run has no tools, so it may not call {shown(name)}")


def shown(name: str) -> str:
    """The name for a message or a log line: a model may have made it up, with anything in it."""
    return repr(name) if TOOL_NAME.fullmatch(name) else "a tool whose name is not one"
