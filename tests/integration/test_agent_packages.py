"""Agents of installed packages in the whole product: listed, routed to, run, and kept to the tools they may call."""

import json
import os
import re
import subprocess
import sys
import tomllib
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from app.cli.main import app
from app.cli.scaffold.package import named, write_package
from app.devstack.ports import free_ports
from app.devstack.source import with_source
from tests.api.harness import api_settings, problem_of, running_api, stores_of
from tests.api.world import World, started_world, world_settings
from tests.architecture.tree import ROOT
from tests.fakes.packages import add_metadata, add_module
from tests.processes import Server

pytestmark = pytest.mark.slow

# A file of the guide is a path on a line of its own, and then a block.
_SHOWN_FILE = re.compile(r"(?m)^`((?:src|tests)/[^`]+)`:\n\n```\w+\n((?:.*\n)*?)```")
_SHOWN_TOML = re.compile(r"(?m)^```toml\n((?:.*\n)*?)```")
NOTES = (sys.executable, str(Path(__file__).parents[1] / "fakes" / "mcp_server.py"))
TOOLING = """
    import json

    from app.agents.base import AgentOutput, BaseAgent
    from app.agents.specs import AgentSpec
    from app.agents.tools.models import SideEffect, ToolSpec
    from app.llm.usage import ModelRole

    AGENT = AgentSpec(
        name="ToolingAgent", agent_type="tooling", description="Calls tools.", examples=("Call a tool",),
        model_role=ModelRole.PEER, factory="tooling_of_the_tests:ToolingAgent", routable=False, tools=("shout",),
    )
    SHOUT = ToolSpec(
        "shout", "Shouts.", "tooling_of_the_tests:shout", SideEffect.NONE,
        input_schema={"type": "object", "properties": {"text": {"type": "string"}}, "required": ["text"]},
    )

    async def shout(arguments, call):
        return arguments["text"].upper()

    class ToolingAgent(BaseAgent):
        async def run(self, request, tools):
            called = json.loads(request.text)
            result = await tools.toolbox.call(called["tool"], called["arguments"])
            return AgentOutput(summary="called", raw_output=result.text)
"""


def a_product(store: Server, redis_url: str, simulator: Server, **settings: Any) -> AbstractAsyncContextManager[World]:
    """As it starts anywhere: it is told of no agent, and takes what is installed."""
    given = world_settings(store, redis_url, simulator, agent_plugins="all", **settings)
    return started_world(given, simulator)


def test_the_scaffold_never_overwrites_and_refuses_names_that_are_taken(tmp_path: Path) -> None:
    first = CliRunner().invoke(app, ["agents", "new", "weather", "--dir", str(tmp_path)])
    again = CliRunner().invoke(app, ["agents", "new", "WeatherAgent", "--dir", str(tmp_path)])
    taken = CliRunner().invoke(app, ["agents", "new", "code", "--dir", str(tmp_path)])

    assert first.exit_code == 0
    assert "is there already" in str(again.exception)
    assert "there is an agent CodeAgent" in str(taken.exception)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["weather-agent"]


@pytest.fixture
def new_package(tmp_path: Path) -> Path:
    made = CliRunner().invoke(app, ["agents", "new", "city-lore", "--dir", str(tmp_path)])
    assert made.exit_code == 0, made.output
    return tmp_path / "city-lore-agent"


def test_a_new_package_passes_its_own_tests(new_package: Path) -> None:
    assert "4 passed" in output_of_tests(new_package)


@pytest.fixture
def guided_package(tmp_path: Path) -> Path:
    """What somebody has who follows the guide: the package that is written for them, with its files replaced."""
    package = write_package(named("translation"), tmp_path)
    guide = (ROOT / "docs" / "how-to" / "add-an-agent.md").read_text("utf-8")
    for path, text in _SHOWN_FILE.findall(guide):
        (package / path).write_text(text, "utf-8")
    with (package / "pyproject.toml").open("a", encoding="utf-8") as project:
        project.write("\n" + _SHOWN_TOML.findall(guide)[0])
    return package


def test_the_package_of_the_guide_passes_the_tests_of_the_guide(guided_package: Path) -> None:
    assert "4 passed" in output_of_tests(guided_package)


async def test_the_package_of_the_guide_works_in_the_product(
    guided_package: Path, monkeypatch: pytest.MonkeyPatch, store: Server, redis_url: str, simulator: Server
) -> None:
    add_metadata(guided_package / "src", "translation-agent", **entry_points_of(guided_package))
    monkeypatch.syspath_prepend(guided_package / "src")

    async with a_product(store, redis_url, simulator) as product:
        task = await product.attempt("Good morning", agent="TranslationAgent", input={"language": "French"})
        refused = await product.api.execute("Good morning", agent="TranslationAgent", input={"colour": "red"})

    assert task["status"] == "completed", task["error"]
    assert set(task["result"]["data"]) == {"text", "doubts"}
    assert task["agent_runs"][-1]["tools_used"] == ["glossary"]
    assert refused.status_code == 422


async def test_a_new_package_works_in_the_product_as_it_is(
    new_package: Path, monkeypatch: pytest.MonkeyPatch, store: Server, redis_url: str, simulator: Server
) -> None:
    add_metadata(new_package / "src", "city-lore-agent", **entry_points_of(new_package))
    monkeypatch.syspath_prepend(new_package / "src")

    async with a_product(store, redis_url, simulator) as product:
        listed = (await product.api.get("/v1/agents/CityLoreAgent")).json()
        task = await product.attempt("Which bridges are famous?", agent="CityLoreAgent", input={"audience": "children"})
        routed = await product.attempt("City lore about bridges, in a few sentences")

    assert listed["origin"] == "city-lore-agent 1.2.3"
    assert set(listed["input_schema"]["properties"]) == {"audience"}
    assert task["status"] == "completed", task["error"]
    assert set(task["result"]["data"]) == {"headline", "details"}
    assert (routed["selected_agent"], routed["status"]) == ("CityLoreAgent", "completed")


async def test_a_packages_agent_calls_the_tools_it_may_and_no_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, store: Server, redis_url: str, simulator: Server
) -> None:
    add_module(tmp_path, "tooling_of_the_tests", TOOLING)
    add_module(tmp_path, "broken_of_the_tests", "raise RuntimeError('at import')")
    add_metadata(
        tmp_path,
        "tooling-pack",
        agents={"tooling": "tooling_of_the_tests:AGENT"},
        tools={"shout": "tooling_of_the_tests:SHOUT"},
    )
    add_metadata(tmp_path, "broken-pack", agents={"broken": "broken_of_the_tests:AGENT"})
    monkeypatch.syspath_prepend(tmp_path)
    notes = {"command": NOTES, "allow": {"ToolingAgent": ["lookup", "write_note"]}, "read_only": ["lookup"]}
    away = {"url": f"http://127.0.0.1:{free_ports(1)[0]}/mcp", "allow": {"ToolingAgent": ["lookup"]}}

    async with a_product(store, redis_url, simulator, mcp_servers={"notes": notes, "away": away}) as product:
        (listed,) = [a for a in (await product.api.get("/v1/agents")).json()["items"] if a["name"] == "ToolingAgent"]
        own = await product.attempt(call_of("shout", text="hello"), agent="ToolingAgent")
        found = await product.attempt(call_of("mcp.notes.lookup", city="Kyiv"), agent="ToolingAgent")
        noted = await product.attempt(call_of("mcp.notes.write_note", text="one"), agent="ToolingAgent")
        refused = await product.attempt(call_of("mcp.notes.count_notes"), agent="ToolingAgent")
        effects = (await product.api.get(f"/v1/tasks/{noted['task_id']}/effects")).json()["items"]
        waiting = await product.attempt(call_of("mcp.away.lookup", city="Kyiv"), agent="ToolingAgent")

    assert listed["tools"] == ["mcp.away.lookup", "mcp.notes.lookup", "mcp.notes.write_note", "shout"]
    assert own["result"]["raw_output"] == "HELLO"
    assert "Kyiv has 7 bridges" in found["result"]["raw_output"]
    assert found["agent_runs"][-1]["tools_used"] == ["mcp.notes.lookup"]
    assert [(effect["name"], effect["status"]) for effect in effects] == [("mcp.notes.write_note", "done")]
    assert refused["error"]["type"] == "TOOL_NOT_ALLOWED"
    assert "mcp.notes.count_notes" in refused["error"]["message"]
    assert refused["agent_runs"][-1]["tools_used"] == []
    assert waiting["status"] == "queued"
    assert waiting["agent_runs"][-1]["error"]["type"] == "TOOL_UNAVAILABLE"


def output_of_tests(package: Path) -> str:
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"]
    tested = subprocess.run(
        command, cwd=package, env=with_source(os.environ), capture_output=True, text=True, timeout=60
    )
    return tested.stdout + tested.stderr


def entry_points_of(package: Path) -> dict[str, Any]:
    """As `add_metadata` takes them."""
    points = tomllib.loads((package / "pyproject.toml").read_text())["project"]["entry-points"]
    return {group.removeprefix("agent_orchestrator."): given for group, given in points.items()}


def call_of(tool: str, **arguments: str) -> str:
    return json.dumps({"tool": tool, "arguments": arguments})


async def test_packages_that_are_not_admitted_are_not_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, store: Server, redis_url: str
) -> None:
    add_module(tmp_path, "tooling_of_the_tests", TOOLING)
    add_metadata(tmp_path, "tooling-pack", agents={"tooling": "tooling_of_the_tests:AGENT"})
    monkeypatch.syspath_prepend(tmp_path)

    async with running_api(api_settings(**stores_of(store, redis_url), agent_plugins="none")) as api:
        problem_of(await api.get("/v1/agents/ToolingAgent"), 404, "AGENT_NOT_FOUND")
