"""Agents and tools of installed packages, found by their entry points.

A package that does not work is left out and told about; it never takes a process down.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from pydantic import TypeAdapter, ValidationError

from app.agents.specs import AgentSpec
from app.agents.tools.models import MCP_PREFIX, TOOL_NAME, ToolSpec
from app.errors import Invalid, OrchestratorError
from app.observability.failures import describe

AGENTS = "agent_orchestrator.agents"
TOOLS = "agent_orchestrator.tools"
# Theirs are loaded by app.governance.evaluation.plugins; a package may bring nothing else.
EVALUATORS = "agent_orchestrator.evaluators"
WANTED = "AGENT_PLUGINS"
NOT_THERE = "no installed package of this name brings agents, tools or evaluators"
LONGEST_DESCRIPTION = 2000
MOST_EXAMPLES = 20
# The name under which web searches are counted.
_TAKEN = frozenset({"web_search"})


@dataclass(frozen=True, slots=True)
class Plugin:
    """What one entry point brings. `distribution` is the package's name and version."""

    distribution: str
    entry_point: str
    agents: tuple[AgentSpec, ...] = ()
    tools: tuple[ToolSpec, ...] = ()


@dataclass(frozen=True, slots=True)
class BrokenPlugin:
    """An entry point that is left out, and why."""

    distribution: str
    entry_point: str
    reason: str


def load_plugins(wanted: frozenset[str] | None) -> Sequence[Plugin | BrokenPlugin]:
    """Every entry point of the wanted distributions (None: of all), in a fixed order. Imports their light modules.

    A wanted one that brings nothing is a broken one: it is misspelt or not installed.
    """
    points = entry_points_of((AGENTS, TOOLS, EVALUATORS), wanted)
    missing = (wanted or frozenset()) - {distribution_of(point)[0] for point in points}
    loaded = [_load(point) for point in points if point.group != EVALUATORS]
    return [*loaded, *(BrokenPlugin(name, WANTED, NOT_THERE) for name in sorted(missing))]


def broken_plugin(distribution: str, entry_point: str, error: BaseException) -> BrokenPlugin:
    return BrokenPlugin(distribution, entry_point, _reason(error))


def _reason(error: BaseException) -> str:
    if isinstance(error, OrchestratorError):
        return error.message
    if isinstance(error, ModuleNotFoundError) and error.name:
        return f"{type(error).__name__}: there is no module {error.name}"
    return describe(error)


def entry_points_of(groups: tuple[str, ...], wanted: frozenset[str] | None) -> list[EntryPoint]:
    """Those of the wanted distributions (None: of all), in a fixed order."""
    if wanted == frozenset():
        return []
    # All at once: each question reads the metadata of every installed distribution.
    known = entry_points()
    found = [point for group in groups for point in known.select(group=group)]
    admitted = [point for point in found if wanted is None or distribution_of(point)[0] in wanted]
    return sorted(admitted, key=lambda point: (distribution_of(point), point.group, point.name))


def distribution_of(point: EntryPoint) -> tuple[str, str]:
    """Name, in the form that package tools compare, and version."""
    if point.dist is None:
        return ("", "")
    return (re.sub(r"[-_.]+", "-", str(point.dist.name)).lower(), point.dist.version)


def _load(point: EntryPoint) -> Plugin | BrokenPlugin:
    distribution, entry_point = " ".join(distribution_of(point)), f"{point.group}: {point.name}"
    try:
        objects = tuple(listed(point.load()))
        if point.group == AGENTS:
            return Plugin(distribution, entry_point, agents=tuple(map(checked_agent, objects)))
        return Plugin(distribution, entry_point, tools=tuple(map(checked_tool, objects)))
    except (Exception, SystemExit) as error:  # noqa: BLE001 - the edge to foreign code: importing it runs it
        return broken_plugin(distribution, entry_point, error)


def listed(loaded: Any) -> Iterator[Any]:
    if isinstance(loaded, list | tuple):
        yield from loaded
    else:
        yield loaded


def checked_agent(spec: Any) -> AgentSpec:
    """The spec with every field in its type. Raises `Invalid`; names are compared by the registry."""
    checked: AgentSpec = checked_spec(spec, AgentSpec, _AGENT)
    if not 1 <= len(checked.description.strip()) <= LONGEST_DESCRIPTION:
        raise Invalid(f"agent {checked.name!r}: the description has 1 to {LONGEST_DESCRIPTION} characters")
    if len(checked.examples) > MOST_EXAMPLES:
        raise Invalid(f"agent {checked.name!r}: give at most {MOST_EXAMPLES} examples")
    for model in (checked.input_model, checked.output_model):
        if model is not None:
            model.model_json_schema()
    return checked


def checked_tool(spec: Any) -> ToolSpec:
    """The same for a tool."""
    checked: ToolSpec = checked_spec(spec, ToolSpec, _TOOL)
    if not TOOL_NAME.fullmatch(checked.name) or checked.name.startswith(MCP_PREFIX) or checked.name in _TAKEN:
        raise Invalid(
            f"tool {checked.name!r}: a name has at most 64 letters, digits, `_`, `.` and `-`, begins with a letter and "
            f"not with `{MCP_PREFIX}`, and is not one of {', '.join(sorted(_TAKEN))}"
        )
    if (checked.input_model is None) == (checked.input_schema is None):
        raise Invalid(f"tool {checked.name!r}: give either `input_model` or `input_schema`")
    return checked


def checked_spec(spec: Any, kind: type[Any], adapter: TypeAdapter[Any]) -> Any:
    """The dataclass with every field in its type. Raises `Invalid`."""
    if not isinstance(spec, kind):
        raise Invalid(f"the entry point names a {type(spec).__name__}, not a {kind.__name__} or a list of them")
    try:
        return adapter.validate_python({field.name: getattr(spec, field.name) for field in fields(kind)})
    except ValidationError as error:
        places = ", ".join(f"{'.'.join(map(str, problem['loc']))}: {problem['msg']}" for problem in error.errors())
        raise Invalid(f"{kind.__name__} {spec.name!r} is wrong: {places}") from error


_AGENT: TypeAdapter[Any] = TypeAdapter(AgentSpec)
_TOOL: TypeAdapter[Any] = TypeAdapter(ToolSpec)
