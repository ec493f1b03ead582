"""Calls of tools as policies see them, on workers and on one's own machine alike."""

import asyncio
import hashlib
import json
from collections.abc import Awaitable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self, TypeVar

from app.agents.tools.models import ToolDescription
from app.tasks.policy_facts import spend_facts

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Call:
    """``text`` are its arguments as JSON, alike for alike calls."""

    tool: ToolDescription
    arguments: Mapping[str, Any]
    text: str

    @classmethod
    def of(cls, tool: ToolDescription, arguments: Mapping[str, Any]) -> Self:
        text = json.dumps(arguments, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        return cls(tool, arguments, text)

    @property
    def data(self) -> bytes:
        # A model may have made half a character up.
        return self.text.encode(errors="surrogatepass")

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.data).hexdigest()

    def facts(self, *, agent: str, used_by: str, costs: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        """By name. ``costs`` are those of earlier attempts at the work that the call is made for."""
        return {
            "agent.name": agent,
            "tool.name": self.tool.name,
            "tool.side_effect": self.tool.side_effect.value,
            "tool.arguments": dict(self.arguments),
            "tool.argument_bytes": len(self.data),
            "tool.used_by": used_by,
            **spend_facts(costs),
        }


class Waiting:
    """What the calls of an agent wait for, which ends its attempt whatever the agent makes of the error."""

    def __init__(self) -> None:
        self._reason: Exception | None = None

    def check(self) -> None:
        """Raises the reason, if there is one."""
        if self._reason is not None:
            raise self._reason

    def note(self, reason: Exception) -> None:
        self._reason = reason

    async def watch(self, work: Awaitable[T]) -> T:
        """The result of the agent's work. Raises the reason when one of its calls waits."""
        try:
            result = await work
        except asyncio.CancelledError:
            raise
        except Exception:
            if self._reason is not None:
                raise self._reason from None
            raise
        self.check()
        return result
