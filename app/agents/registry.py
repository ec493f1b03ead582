"""Agents by name and by type; an agent's code is imported only when a worker loads it."""

import importlib
import re
from collections.abc import Iterable, Sequence

from app.agents.base import BaseAgent
from app.agents.specs import BUILT_IN, AgentSpec
from app.errors import Invalid, NotFound

# Names and types become keys of MongoDB documents (`tasks_per_agent`), where `.` and `$` have a meaning.
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,63}")


class AgentNotFound(NotFound):
    code = "AGENT_NOT_FOUND"
    title = "Agent not found"


class Registry:
    """Immutable. Raises `Invalid` for a wrong or repeated name or type."""

    def __init__(self, specs: Iterable[AgentSpec] = BUILT_IN) -> None:
        self._by_name: dict[str, AgentSpec] = {}
        self._by_type: dict[str, AgentSpec] = {}
        self._loaded: dict[str, BaseAgent] = {}
        for spec in specs:
            self._add(spec)

    def get_agent(self, name: str) -> AgentSpec:
        if name not in self._by_name:
            raise AgentNotFound(f"no agent named {name!r}; there are {', '.join(self._by_name)}", name=name)
        return self._by_name[name]

    def find_by_type(self, agent_type: str) -> AgentSpec | None:
        return self._by_type.get(agent_type)

    def list_agents(self) -> Sequence[AgentSpec]:
        return tuple(self._by_name.values())

    def list_routable(self) -> Sequence[AgentSpec]:
        """Those the router may choose; the others run only when a caller names them."""
        return tuple(spec for spec in self._by_name.values() if spec.routable)

    def load(self, name: str) -> BaseAgent:
        """The agent itself, one instance per registry. Importing it may take a second."""
        if name not in self._loaded:
            self._loaded[name] = _instance(self.get_agent(name))
        return self._loaded[name]

    def _add(self, spec: AgentSpec) -> None:
        for label, value, taken in (("name", spec.name, self._by_name), ("type", spec.agent_type, self._by_type)):
            if not _NAME.fullmatch(value):
                raise Invalid(f"agent {label} {value!r}: use letters, digits, `_` and `-`, beginning with a letter")
            if value in taken:
                raise Invalid(f"two agents have the {label} {value!r}")
        if spec.name == "Unknown":
            raise Invalid("no agent can be named Unknown: it is the router's answer for none")
        self._by_name[spec.name] = self._by_type[spec.agent_type] = spec


def _instance(spec: AgentSpec) -> BaseAgent:
    module, _, attribute = spec.factory.partition(":")
    try:
        agent = getattr(importlib.import_module(module), attribute)()
    except (ImportError, AttributeError, TypeError) as error:
        raise Invalid(f"agent {spec.name!r}: cannot build {spec.factory!r}", factory=spec.factory) from error
    if not isinstance(agent, BaseAgent):
        raise Invalid(f"agent {spec.name!r}: {spec.factory!r} is not a BaseAgent", factory=spec.factory)
    return agent
