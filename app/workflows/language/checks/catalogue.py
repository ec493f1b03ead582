"""The agents that a document may name."""

from collections.abc import Sequence
from typing import Protocol

from app.agents.specs import AgentSpec


class Catalogue(Protocol):
    def find_agent(self, reference: str) -> AgentSpec | None:
        """By name, else by type."""
        ...

    def agent_names(self) -> Sequence[str]:
        """Names and types."""
        ...
