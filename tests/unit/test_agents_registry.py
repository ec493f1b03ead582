import json
import subprocess
import sys
from dataclasses import replace

import pytest

from app.agents.echo import EchoAgent
from app.agents.registry import AgentNotFound, Registry
from app.agents.specs import BUILT_IN
from app.errors import Invalid
from tests.fakes.agents import SteadyChat, a_request, tools_with

CONTENT, CODE, *_, ECHO = BUILT_IN
HEAVY = [
    *("langchain_core", "langchain_openai", "langgraph", "openai", "tavily", "tiktoken", "pymongo"),
    *("mcp", "polars", "pygal", "sqlglot", "tree_sitter"),
]


@pytest.mark.parametrize("name", [spec.name for spec in BUILT_IN])
def test_every_built_in_agent_loads(name: str) -> None:
    registry = Registry()

    assert type(registry.load(name)).__name__ == name
    assert registry.load(name) is registry.load(name)


def test_an_agent_is_found_by_name_and_by_type() -> None:
    registry = Registry()

    assert registry.get_agent("CodeAgent") is registry.find_by_type("code")
    assert registry.find_by_type("poetry") is None


def test_a_reference_is_a_name_or_a_type() -> None:
    registry = Registry()

    assert registry.find_agent("CodeAgent") is registry.find_agent("code") is registry.get_agent("CodeAgent")
    assert registry.find_agent("poetry") is None
    assert {"CodeAgent", "code"} <= set(registry.agent_names())


def test_an_unknown_agent_is_not_found_and_the_known_ones_are_named() -> None:
    with pytest.raises(AgentNotFound, match="ContentAgent"):
        Registry().get_agent("NopeAgent")


def test_the_echo_agent_is_listed_but_never_routed_to() -> None:
    registry = Registry()

    assert ECHO in registry.list_agents()
    assert ECHO not in registry.list_routable()


@pytest.mark.parametrize("name", ["", "a.b", "$set", "with space", "9lives", "Unknown", "x" * 65])
def test_a_name_that_could_not_be_a_key_is_refused(name: str) -> None:
    with pytest.raises(Invalid):
        Registry([replace(CONTENT, name=name)])


def test_two_agents_share_neither_name_nor_type() -> None:
    with pytest.raises(Invalid, match="name"):
        Registry([CONTENT, replace(CODE, name=CONTENT.name)])
    with pytest.raises(Invalid, match="type"):
        Registry([CONTENT, replace(CODE, agent_type=CONTENT.agent_type)])


@pytest.mark.parametrize(
    "factory", ["app.nowhere:Agent", "app.agents.echo:Nobody", "app.agents.prompt:Prompt", "nonsense"]
)
def test_a_factory_that_builds_no_agent_is_named(factory: str) -> None:
    registry = Registry([replace(CONTENT, factory=factory)])

    with pytest.raises(Invalid, match="ContentAgent"):
        registry.load("ContentAgent")


async def test_the_echo_agent_answers_with_its_input_and_asks_no_model() -> None:
    chat = SteadyChat(RuntimeError("must not be called"))

    output = await EchoAgent().run(a_request("ping"), tools_with(chat))

    assert (output.raw_output, output.summary) == ("ping", "ping")


def test_the_registry_imports_no_model_library() -> None:
    program = f"import json, sys, app.agents.registry; print(json.dumps([m for m in {HEAVY!r} if m in sys.modules]))"

    found = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True, text=True)

    assert json.loads(found.stdout) == []
