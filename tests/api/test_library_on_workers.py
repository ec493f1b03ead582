"""The workflows of the library on workers, as the tutorial runs them: they give what the local runner gives."""

import asyncio
import json
import re
import shlex
from collections.abc import AsyncIterator
from itertools import pairwise
from pathlib import Path

import pytest
from typer.testing import CliRunner

from app.cli.exit_codes import ExitCode
from app.cli.main import app
from app.cli.task_input import read_input
from tests.api.hands import POLL, Hands
from tests.api.harness import Json
from tests.api.test_cli_commands import Terminal
from tests.api.test_cli_executions import followed
from tests.api.test_executions import execute
from tests.api.test_executions_steered import acted
from tests.api.world import StartWorld
from tests.processes import Server
from tests.scenarios.test_workflow_library import COMMANDS, FILES, NAMES

VERBS = {"yes": "approve", "no": "reject"}


def words_of(command: str) -> list[str]:
    """What a shell gives to `orchestrate`."""
    files = dict(FILES)
    words = shlex.split(command)[1:]
    return [re.sub(r"\$\(cat ([\w.]+)\)", lambda found: files[found[1]].rstrip("\n"), word) for word in words]


def options_of(words: list[str], name: str) -> list[str]:
    return [value for option, value in pairwise(words) if option == name]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for name, content in FILES:
        (tmp_path / name).write_text(content, encoding="utf-8")
    return tmp_path


@pytest.fixture
def words(request: pytest.FixtureRequest) -> list[str]:
    return words_of(request.param)


@pytest.fixture
def locally(words: list[str], simulator: Server, folder: Path) -> Json:
    """What the local runner gives. It listens to signals, so it cannot run in the loop of a test."""
    variables = {
        "DATA_DIR": str(folder),
        "OPENAI_BASE_URL": f"{simulator.http_url}/v1",
        "OPENAI_API_KEY": "sk-simulated",
        "TAVILY_BASE_URL": simulator.http_url,
        "TAVILY_API_KEY": "tvly-simulated",
        "NO_COLOR": "1",
    }
    done = CliRunner().invoke(app, [*words, "--json"], env=variables)
    assert done.exit_code == ExitCode.OK, done.output
    outputs: Json = json.loads(done.stdout)["outputs"]
    return outputs


@pytest.fixture
async def hands(start_world: StartWorld) -> AsyncIterator[Hands]:
    async with start_world(over_socket=True, worker_allow_commands=True) as world:
        hands = Hands(world.api, [world.worker])
        yield hands
        await hands.rest()


@pytest.fixture
def terminal(hands: Hands) -> Terminal:
    return Terminal(hands.api)


@pytest.mark.long
@pytest.mark.parametrize("words", COMMANDS, ids=NAMES, indirect=True)
async def test_a_workflow_gives_on_workers_what_it_gives_locally(
    locally: Json, words: list[str], hands: Hands, terminal: Terminal
) -> None:
    stored = await terminal.json("workflows", "put", words[1])
    begun = await execute(hands.api, stored["name"], read_input(options_of(words, "--input")))
    execution = await hands.go_on(begun.json()["execution_id"])
    for answer in options_of(words, "--approve"):
        assert execution.document["idle_for"] == "awaiting_approval"
        step, _, said = answer.partition("=")
        await acted(hands.api, execution.id, f"steps/{step}/{VERBS[said]}")
        execution = await hands.go_on(execution.id)

    assert execution.status == "completed", execution.document["fault"]
    assert await hands.outputs(execution) == locally


@pytest.mark.slow
@pytest.mark.parametrize("words", [COMMANDS[NAMES.index("design-plan-implement")]], ids=["delivery"], indirect=True)
@pytest.mark.long
async def test_a_workflow_that_calls_files_is_run_on_a_server_with_one_command(
    locally: Json, words: list[str], hands: Hands, terminal: Terminal
) -> None:
    running = asyncio.create_task(followed(terminal, *words, "--json"))
    while not running.done():
        await hands.take_up()
        await asyncio.sleep(POLL)
    result = await running

    assert result.exit_code == ExitCode.OK, result.stderr
    assert json.loads(result.stdout)["outputs"] == locally
