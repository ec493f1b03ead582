"""Agents by name and by type, and the tools of plug-ins; their code is imported only when a worker loads it."""

import importlib
import re
from collections.abc import Iterable, Sequence

from app.agents.base import BaseAgent
from app.agents.plugins import BrokenPlugin, Plugin, broken_plugin, load_plugins
from app.agents.specs import BUILT_IN, AgentSpec
from app.agents.tools.models import ToolSpec
from app.errors import Invalid, NotFound
from app.settings import Settings

ORIGIN = "built-in"

# Names and types become keys of MongoDB documents (`tasks_per_agent`), where `.` and `$` have a meaning.
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,63}")


class AgentNotFound(NotFound):
    code = "AGENT_NOT_FOUND"
    title = "Agent not found"


class Registry:
    """Immutable. Raises `Invalid` for a wrong or repeated name or type; a plug-in with one is left out instead."""

    def __init__(self, specs: Iterable[AgentSpec] = BUILT_IN, *, plugins: Iterable[Plugin | BrokenPlugin] = ()) -> None:
        self._by_name: dict[str, AgentSpec] = {}
        self._by_type: dict[str, AgentSpec] = {}
        self._tools: dict[str, ToolSpec] = {}
        self._origins: dict[str, str] = {}
        self._tool_origins: dict[str, str] = {}
        self._broken: list[BrokenPlugin] = []
        self._loaded: dict[str, BaseAgent] = {}
        for spec in specs:
            self._check(spec)
            self._add(spec)
        for plugin in plugins:
            self._plug_in(plugin)

    def get_agent(self, name: str) -> AgentSpec:
        if name not in self._by_name:
            raise AgentNotFound(f"no agent named {name!r}; there are {', '.join(self._by_name)}", name=name)
        return self._by_name[name]

    def find_by_type(self, agent_type: str) -> AgentSpec | None:
        return self._by_type.get(agent_type)

    def find_agent(self, reference: str) -> AgentSpec | None:
        """By its name, else by its type."""
        return self._by_name.get(reference) or self._by_type.get(reference)

    def agent_names(self) -> Sequence[str]:
        """What agents can be named by: names and types."""
        return (*self._by_name, *self._by_type)

    def list_agents(self) -> Sequence[AgentSpec]:
        return tuple(self._by_name.values())

    def list_routable(self) -> Sequence[AgentSpec]:
        """Those the router may choose; the others run only when a caller names them."""
        return tuple(spec for spec in self._by_name.values() if spec.routable)

    def list_tools(self) -> Sequence[ToolSpec]:
        """Those of plug-ins; the tools of MCP servers are configured, not registered."""
        return tuple(self._tools.values())

    def list_broken(self) -> Sequence[BrokenPlugin]:
        return tuple(self._broken)

    def origin_of(self, name: str) -> str:
        """`built-in`, or name and version of the package that brings the agent."""
        return self._origins.get(name, ORIGIN)

    def origin_of_tool(self, name: str) -> str:
        return self._tool_origins[name]

    def is_plugged_in(self, name: str) -> bool:
        return name in self._origins

    def load_plugged_in(self) -> Sequence[BrokenPlugin]:
        """Import the agents of plug-ins now, while nobody waits for one; answers those that cannot be loaded."""
        found = []
        for name, distribution in self._origins.items():
            try:
                self.load(name)
            except Invalid as error:
                found.append(broken_plugin(distribution, f"agent {name}", error))
        return found

    def load(self, name: str) -> BaseAgent:
        """The agent itself, one instance per registry. Importing it may take a second; threads may call this."""
        if name not in self._loaded:
            self._loaded.setdefault(name, _instance(self.get_agent(name)))
        return self._loaded[name]

    def find_loaded(self, name: str) -> BaseAgent | None:
        """The agent if somebody has loaded it already, which takes no time."""
        return self._loaded.get(name)

    def _plug_in(self, plugin: Plugin | BrokenPlugin) -> None:
        """All of it or nothing."""
        if isinstance(plugin, BrokenPlugin):
            self._broken.append(plugin)
            return
        try:
            _refuse_repetition(plugin)
            for spec in plugin.agents:
                self._check(spec)
            for tool in plugin.tools:
                if tool.name in self._tools:
                    raise Invalid(f"there is a tool {tool.name!r} already, of {self._tool_origins[tool.name]}")
        except Invalid as error:
            self._broken.append(broken_plugin(plugin.distribution, plugin.entry_point, error))
            return
        for spec in plugin.agents:
            self._add(spec)
        self._tools.update({tool.name: tool for tool in plugin.tools})
        self._origins.update({spec.name: plugin.distribution for spec in plugin.agents})
        self._tool_origins.update({tool.name: plugin.distribution for tool in plugin.tools})

    def _check(self, spec: AgentSpec) -> None:
        for label, value, taken in (("name", spec.name, self._by_name), ("type", spec.agent_type, self._by_type)):
            if not _NAME.fullmatch(value):
                raise Invalid(f"agent {label} {value!r}: use letters, digits, `_` and `-`, beginning with a letter")
            if value in taken:
                raise Invalid(f"two agents have the {label} {value!r}")
        if spec.name == "Unknown":
            raise Invalid("no agent can be named Unknown: it is the router's answer for none")

    def _add(self, spec: AgentSpec) -> None:
        self._by_name[spec.name] = self._by_type[spec.agent_type] = spec


def build_registry(settings: Settings) -> Registry:
    """The product's agents, and those of the installed packages that AGENT_PLUGINS admits."""
    return Registry(plugins=load_plugins(settings.agent_plugins))


def _refuse_repetition(plugin: Plugin) -> None:
    for names in (
        [spec.name for spec in plugin.agents],
        [spec.agent_type for spec in plugin.agents],
        [tool.name for tool in plugin.tools],
    ):
        if len(set(names)) < len(names):
            raise Invalid("it brings two things of one name")


def _instance(spec: AgentSpec) -> BaseAgent:
    module, _, attribute = spec.factory.partition(":")
    try:
        agent = getattr(importlib.import_module(module), attribute)()
    except (Exception, SystemExit) as error:  # the edge to foreign code: importing it runs it
        kind = type(error).__name__
        raise Invalid(f"agent {spec.name!r}: cannot build {spec.factory!r} ({kind})", factory=spec.factory) from error
    if not isinstance(agent, BaseAgent):
        raise Invalid(f"agent {spec.name!r}: {spec.factory!r} is not a BaseAgent", factory=spec.factory)
    return agent
