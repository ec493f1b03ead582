import re
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from app.agents.plugins import BrokenPlugin, load_plugins
from app.agents.registry import Registry
from tests.fakes.packages import add_metadata, add_module

SPEC = """
    from app.agents.specs import AgentSpec
    from app.llm.usage import ModelRole

    AGENT = AgentSpec(
        name={name!r}, agent_type={kind!r}, description={description!r}, examples=("Is it raining?",),
        model_role=ModelRole.TEXT, factory="{module}:Weather",
    )
    BOTH = [AGENT, AGENT]
    NOTHING = object()

    class Weather:
        pass
"""
TOOL = """
    from app.agents.tools.models import SideEffect, ToolSpec

    TOOL = ToolSpec({name!r}, "Looks.", "{module}:look", SideEffect.NONE, input_schema={schema!r})
"""
Install = Callable[..., str]


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Install:
    """Puts a package with one module on the path; answers the module's name, which no other test has."""
    monkeypatch.syspath_prepend(tmp_path)

    def installed(name: str, source: str, *, version: str = "1.2.3", **points: Mapping[str, str]) -> str:
        module = re.sub(r"\W", "_", f"{name}_{tmp_path.name}")
        add_module(tmp_path, module, source.replace("{module}", module))
        wired = {group: {key: f"{module}:{at}" for key, at in named.items()} for group, named in points.items()}
        add_metadata(tmp_path, name, version=version, **wired)
        return module

    return installed


def a_spec(name: str = "WeatherAgent", kind: str = "weather", description: Any = "Tells the weather.") -> str:
    filled = SPEC.replace("{name!r}", repr(name)).replace("{kind!r}", repr(kind))
    return filled.replace("{description!r}", repr(description))


def a_tool(name: str = "look", schema: Any = None) -> str:
    return TOOL.replace("{name!r}", repr(name)).replace("{schema!r}", repr(schema or {"type": "object"}))


def broken(registry: Registry) -> BrokenPlugin:
    (found,) = registry.list_broken()
    return found


def test_an_agent_of_an_installed_package_is_registered_with_its_origin(install: Install) -> None:
    install("weather-pack", a_spec(), agents={"weather": "AGENT"})

    registry = Registry(plugins=load_plugins(None))

    assert registry.get_agent("WeatherAgent").agent_type == "weather"
    assert registry.origin_of("WeatherAgent") == "weather-pack 1.2.3"
    assert registry.origin_of("CodeAgent") == "built-in"


def test_a_tool_of_an_installed_package_is_registered(install: Install) -> None:
    install("eye-pack", a_tool(), tools={"look": "TOOL"})

    registry = Registry(plugins=load_plugins(None))

    assert [tool.name for tool in registry.list_tools()] == ["look"]
    assert registry.origin_of_tool("look") == "eye-pack 1.2.3"


@pytest.mark.parametrize(
    ("wanted", "found"),
    [(None, True), (frozenset({"weather-pack"}), True), (frozenset({"other"}), False), (frozenset(), False)],
)
def test_only_wanted_packages_are_imported(install: Install, wanted: frozenset[str] | None, found: bool) -> None:
    module = install("Weather.Pack", a_spec(), agents={"weather": "AGENT"})

    load_plugins(wanted)

    assert (module in sys.modules) is found


def test_a_wanted_package_that_is_not_installed_is_told(install: Install) -> None:
    install("weather-pack", a_spec(), agents={"weather": "AGENT"})

    registry = Registry(plugins=load_plugins(frozenset({"weather-pack", "wheather-pack"})))

    assert (broken(registry).distribution, broken(registry).entry_point) == ("wheather-pack", "AGENT_PLUGINS")
    assert registry.is_plugged_in("WeatherAgent")


@pytest.mark.parametrize(
    ("source", "at", "reason"),
    [
        ("import nowhere_to_be_found", "AGENT", "no module nowhere_to_be_found"),
        ("raise SystemExit(3)", "AGENT", "SystemExit"),
        ("AGENT = (", "AGENT", "SyntaxError"),
        (a_spec(), "MISSING", "AttributeError"),
        (a_spec(), "NOTHING", "names a object, not a AgentSpec"),
        (a_spec(description=7), "AGENT", "description: Input should be a valid string"),
        (a_spec(description=" "), "AGENT", "the description has 1 to"),
        (a_spec(name="CodeAgent"), "AGENT", "two agents have the name 'CodeAgent'"),
        (a_spec(kind="code"), "AGENT", "two agents have the type 'code'"),
        (a_spec(name="a.b"), "AGENT", "use letters"),
        (a_spec(), "BOTH", "two things of one name"),
    ],
)
def test_a_package_that_does_not_work_is_left_out_with_the_reason(
    install: Install, source: str, at: str, reason: str
) -> None:
    install("weather-pack", source, agents={"weather": at})

    registry = Registry(plugins=load_plugins(None))

    assert len(registry.list_agents()) == len(Registry().list_agents())
    assert broken(registry).distribution == "weather-pack 1.2.3"
    assert broken(registry).entry_point == "agent_orchestrator.agents: weather"
    assert reason in broken(registry).reason


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        (a_tool("mcp.search.look"), "not with `mcp.`"),
        (a_tool("web_search"), "is not one of web_search"),
        (a_tool("with space"), "at most 64"),
        (a_tool(schema=0).replace("input_schema={'type': 'object'}", ""), "either `input_model` or `input_schema`"),
    ],
)
def test_a_tool_with_a_wrong_spec_is_left_out(install: Install, source: str, reason: str) -> None:
    install("eye-pack", source, tools={"look": "TOOL"})

    registry = Registry(plugins=load_plugins(None))

    assert registry.list_tools() == ()
    assert reason in broken(registry).reason


def test_of_two_packages_with_one_name_the_first_in_order_stays(install: Install) -> None:
    install("a-pack", a_tool(), tools={"look": "TOOL"})
    install("b-pack", a_tool(), tools={"look": "TOOL"})

    registry = Registry(plugins=load_plugins(None))

    assert registry.origin_of_tool("look") == "a-pack 1.2.3"
    assert broken(registry).distribution == "b-pack 1.2.3"
    assert "of a-pack" in broken(registry).reason


def test_an_agent_that_cannot_be_built_is_found_when_a_worker_starts(install: Install) -> None:
    install("weather-pack", a_spec(), agents={"weather": "AGENT"})
    registry = Registry(plugins=load_plugins(None))

    (found,) = registry.load_plugged_in()

    assert (found.distribution, found.entry_point) == ("weather-pack 1.2.3", "agent WeatherAgent")
    assert "is not a BaseAgent" in found.reason
