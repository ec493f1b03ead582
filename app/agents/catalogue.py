"""What this deployment's agents are, for people and programs that choose among them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from app.agents.registry import Registry
from app.agents.specs import AgentSpec
from app.agents.tools.allowing import tools_of
from app.setting_mcp import McpServer


@dataclass(frozen=True, slots=True)
class ListedAgent:
    """`origin` is `built-in` or the package; `tools` are the names of all tools it may call here."""

    spec: AgentSpec
    origin: str
    tools: tuple[str, ...]


class Catalogue:
    def __init__(self, registry: Registry, servers: Mapping[str, McpServer]) -> None:
        self._registry = registry
        self._servers = servers

    def list_agents(self) -> Sequence[ListedAgent]:
        return [self._listed(spec) for spec in self._registry.list_agents()]

    def get_agent(self, name: str) -> ListedAgent:
        """Raises `AgentNotFound`."""
        return self._listed(self._registry.get_agent(name))

    def _listed(self, spec: AgentSpec) -> ListedAgent:
        tools = sorted(tools_of(spec, self._servers))
        return ListedAgent(spec, self._registry.origin_of(spec.name), tuple(tools))
