import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from app.cli.check import Grade
from app.cli.main import app
from app.cli.plugin_checks import check_plugins
from app.cli.scaffold.package import named
from app.errors import Invalid
from app.settings import load_settings
from tests.fakes.packages import add_metadata, add_module

TOOL = """
    from app.agents.tools.models import SideEffect, ToolSpec

    TOOL = ToolSpec("look", "Looks.", "{module}:{function}", SideEffect.NONE, input_schema={{"type": "object"}})

    async def look(arguments, call):
        return "seen"
"""


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)


def run(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["agents", *arguments])


def test_agents_are_listed_with_their_origin() -> None:
    result = run("list")

    assert result.exit_code == 0
    (echo,) = [line.split() for line in result.stdout.splitlines() if line.startswith("EchoAgent")]
    assert echo == ["EchoAgent", "echo", "1.0.0", "free", "no", "built-in"]


def test_a_package_that_does_not_work_is_listed_with_the_reason(tmp_path: Path) -> None:
    add_module(tmp_path, "torn_of_the_tests", "import nowhere_to_be_found")
    add_metadata(tmp_path, "torn-pack", agents={"torn": "torn_of_the_tests:AGENT"})

    shown, as_json = run("list"), run("list", "--json")

    assert "failing: torn-pack 1.2.3" in shown.stderr
    (failing,) = json.loads(as_json.stdout)["failing"]
    assert failing["distribution"] == "torn-pack 1.2.3"
    assert "nowhere_to_be_found" in failing["reason"]


def test_one_agent_is_shown_as_text_and_as_json() -> None:
    shown, as_json = run("show", "CodeAgent"), run("show", "CodeAgent", "--json")

    assert "any programming language" in shown.stdout
    assert json.loads(as_json.stdout)["agent_type"] == "code"


def test_an_unknown_agent_cannot_be_shown() -> None:
    assert "no agent named 'NopeAgent'" in str(run("show", "NopeAgent").exception)


@pytest.mark.parametrize("name", ["weather", "weather-agent", "Weather_Agent", "WeatherAgent"])
def test_a_name_is_understood_however_it_is_written(name: str) -> None:
    agent = named(name)

    assert (agent.class_name, agent.agent_type) == ("WeatherAgent", "weather")
    assert (agent.package, agent.distribution) == ("weather_agent", "weather-agent")


@pytest.mark.parametrize(
    "name", ["", "agent", "../weather", "9lives", "a b", "x" * 41, "Ängste", "content", "EchoAgent"]
)
def test_a_name_that_cannot_be_one_is_refused(name: str) -> None:
    with pytest.raises(Invalid):
        named(name)


@pytest.mark.parametrize(("function", "grade"), [("look", Grade.OK), ("gone", Grade.FAIL)])
async def test_the_doctor_loads_plug_ins_as_a_worker_would(tmp_path: Path, function: str, grade: Grade) -> None:
    module = f"eyes_{function}_of_the_tests"
    add_module(tmp_path, module, TOOL.format(module=module, function=function))
    add_metadata(tmp_path, "eye-pack", tools={"look": f"{module}:TOOL"})

    check = await check_plugins(load_settings(_env_file=None))

    assert check.grade is grade
    assert ("1 tools" in check.finding) is (grade is Grade.OK)
    assert ("eye-pack 1.2.3 (tool look)" in check.finding) is (grade is Grade.FAIL)


async def test_the_doctor_is_content_without_plug_ins() -> None:
    assert (await check_plugins(load_settings(_env_file=None))).finding == "no package adds agents, tools or evaluators"
