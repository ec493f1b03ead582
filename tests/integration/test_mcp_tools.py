"""Tools of real MCP servers, over HTTP and as programs of the worker's own."""

import asyncio
import io
import json
import logging
import os
import socket
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import structlog

from app.agents.specs import BUILT_IN
from app.agents.tools.errors import (
    ToolFailed,
    ToolNotAllowed,
    ToolNotReached,
    ToolNotUsable,
    ToolTimeout,
    ToolUnavailable,
)
from app.agents.tools.functions import FunctionTools
from app.agents.tools.mcp_connection import McpConnection
from app.agents.tools.mcp_tools import McpTools
from app.agents.tools.mcp_transport import create_client
from app.agents.tools.models import SideEffect, Toolbox, ToolCall
from app.agents.tools.toolbox import LARGEST_RESULT, Toolboxes
from app.database.documents import Documents
from app.effects.errors import EffectUncertain
from app.effects.ledger import EffectLedger
from app.effects.tool import Effects, NoEffects
from app.errors import ExecutionError
from app.observability.logging import configure_logging
from app.setting_mcp import McpServer
from app.settings import load_settings
from tests.effect_builders import a_ledger, an_attempt
from tests.fakes.mongo import fake_mongo
from tests.processes import Server, is_gone, start, until

pytestmark = pytest.mark.slow

PROGRAM = (sys.executable, str(Path(__file__).parents[1] / "fakes" / "mcp_server.py"))
TOKEN = "a-token-of-the-tests"
AGENT = replace(BUILT_IN[0], name="ToolAgent", tools=())
READING = ("lookup", "flood", "refuse", "sleep", "variables", "leave_pid", "count_notes", "gone", "trap")
ALLOWED = (*READING, "write_note", "write_and_break")


def start_notes(folder: Path, *, port: int = 0, token: str = TOKEN) -> Server:
    process = start("notes", (*PROGRAM, "http", str(port)), folder=folder, environment={"NOTES_TOKEN": token})
    return Server(process, int(process.says("listening on").rsplit(maxsplit=1)[-1]))


@pytest.fixture(scope="module")
def notes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    server = start_notes(tmp_path_factory.mktemp("notes"))
    yield server
    # A call that nobody waits for any more would hold up its goodbye.
    server.process.kill()


def over_http(server: Server, *, token: str = TOKEN, path: str = "/mcp", **more: Any) -> McpServer:
    headers = {"Authorization": f"Bearer {token}"}
    allow = {"ToolAgent": ALLOWED}
    return McpServer(url=f"{server.http_url}{path}", headers=headers, allow=allow, read_only=READING, **more)


def as_program(**more: Any) -> McpServer:
    return McpServer(command=PROGRAM, allow={"ToolAgent": ALLOWED}, read_only=READING, **more)


@asynccontextmanager
async def opened(server: McpServer, *, effects: Effects | None = None) -> AsyncIterator[Toolbox]:
    servers = {"notes": server}
    boxes = Toolboxes(FunctionTools(()), McpTools(servers), servers)
    try:
        yield boxes.open(AGENT, ToolCall("acme", "task-1"), effects=effects or NoEffects())
    finally:
        await boxes.close()


@pytest.fixture
def ledger() -> EffectLedger:
    return a_ledger(Documents(fake_mongo()["tests"]["effects"]))


@pytest.fixture(params=["http", "program"])
def server(request: pytest.FixtureRequest, notes: Server) -> McpServer:
    return over_http(notes) if request.param == "http" else as_program()


async def test_an_allowed_tool_is_described_and_called_and_another_one_is_not(server: McpServer) -> None:
    async with opened(server) as box:
        described = {tool.name: tool for tool in await box.describe()}
        result = await box.call("mcp.notes.lookup", {"city": "Kyiv"})
        with pytest.raises(ToolNotAllowed, match="MCP_SERVERS"):
            await box.call("mcp.notes.erase", {})

    assert described["mcp.notes.lookup"].input_schema["required"] == ["city"]
    assert described["mcp.notes.lookup"].side_effect is SideEffect.NONE
    assert described["mcp.notes.write_note"].side_effect is SideEffect.EXTERNAL
    assert {"mcp.notes.gone", "mcp.notes.trap"}.isdisjoint(described)
    assert result.content == {"result": "Kyiv has 7 bridges"}


async def test_what_a_server_answers_is_checked_and_cut(notes: Server) -> None:
    async with opened(over_http(notes)) as box:
        long = await box.call("mcp.notes.flood", {"size": 200_000})
        with pytest.raises(ToolFailed):
            await box.call("mcp.notes.flood", {"size": 2_000_000})
        with pytest.raises(ToolNotUsable, match="has no tool 'gone'"):
            await box.call("mcp.notes.gone", {})
        with pytest.raises(Exception, match=r"city \(missing\)"):
            await box.call("mcp.notes.lookup", {})
        with pytest.raises(ToolFailed) as refused:
            await box.call("mcp.notes.refuse", {})
        after = await box.call("mcp.notes.lookup", {"city": "Kyiv"})

    assert long.is_cut
    assert len(long.text) <= LARGEST_RESULT
    assert "refuse" in refused.value.output
    assert "Error" not in refused.value.message
    assert after.content


async def test_a_tool_whose_schema_is_a_trap_is_not_called_and_its_neighbours_are(notes: Server) -> None:
    async with opened(over_http(notes)) as box:
        with pytest.raises(ToolNotUsable, match="patternProperties"):
            await box.call("mcp.notes.trap", {"city": "Kyiv"})
        assert (await box.call("mcp.notes.lookup", {"city": "Kyiv"})).content


async def test_a_call_without_an_answer_keeps_no_other_call_of_the_session_waiting(server: McpServer) -> None:
    async with opened(server) as box:
        await box.call("mcp.notes.lookup", {"city": "Kyiv"})
        silent = asyncio.create_task(box.call("mcp.notes.sleep", {}))
        answers = await asyncio.gather(*(box.call("mcp.notes.lookup", {"city": "Kyiv"}) for _ in range(5)))
        silent.cancel()
        again = await box.call("mcp.notes.lookup", {"city": "Kyiv"})

    assert [answer.content for answer in answers] == [again.content] * 5


async def test_a_tool_has_its_servers_time(notes: Server) -> None:
    async with opened(over_http(notes, timeout_sec=0.2)) as box:
        with pytest.raises(ToolTimeout, match=r"0\.2 s"):
            await box.call("mcp.notes.sleep", {})


async def test_a_wrong_token_is_told_without_being_repeated(notes: Server) -> None:
    async with opened(over_http(notes, token="a-wrong-token")) as box:
        with pytest.raises(ToolUnavailable) as refused:
            await box.call("mcp.notes.lookup", {"city": "Kyiv"})

    assert "a-wrong-token" not in refused.value.message
    assert "cannot be reached" in refused.value.message


@pytest.fixture
def log() -> Iterator[io.StringIO]:
    """All that is logged, by a pipeline that does not know the secrets of the servers."""
    root, stream = logging.getLogger(), io.StringIO()
    level, handlers = root.level, list(root.handlers)
    configure_logging(load_settings(_env_file=None, log_level="DEBUG"), service="worker", stream=stream)
    yield stream
    structlog.reset_defaults()
    root.setLevel(level)
    root.handlers[:] = handlers
    logging.captureWarnings(False)


async def test_neither_headers_nor_results_nor_arguments_are_logged(notes: Server, log: io.StringIO) -> None:
    for server in (over_http(notes), over_http(notes, token="a-wrong-token"), over_http(notes, path="/nothing")):
        async with opened(server) as box:
            for tool, arguments in (("lookup", {"city": "Atlantis"}), ("refuse", {}), ("erase", {})):
                with suppress(ExecutionError):
                    await box.call(f"mcp.notes.{tool}", arguments)

    assert {"mcp.connected", "mcp.not_connected", "tool.not_allowed"} <= events_of(log)
    for secret in (TOKEN, "a-wrong-token", "Atlantis", "hunter2"):
        assert secret not in log.getvalue()


def events_of(log: io.StringIO) -> set[str]:
    return {json.loads(line)["event"] for line in log.getvalue().splitlines()}


async def test_a_redirect_to_another_place_is_not_followed(notes: Server) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.setblocking(False)
        port = listener.getsockname()[1]
        async with opened(over_http(notes, path=f"/elsewhere/{port}")) as box:
            with pytest.raises(ToolUnavailable):
                await box.call("mcp.notes.lookup", {"city": "Kyiv"})

        with pytest.raises(BlockingIOError):
            listener.accept()


async def test_a_dead_server_fails_only_its_calls_until_it_is_back(tmp_path: Path, ledger: EffectLedger) -> None:
    effects = an_attempt(ledger)
    first = start_notes(tmp_path)
    async with opened(over_http(first), effects=effects) as box:
        await box.call("mcp.notes.write_note", {"text": "one"})
        first.process.kill()
        # Not in doubt: the session was proved before the note was sent.
        with pytest.raises(ToolUnavailable) as away:
            await box.call("mcp.notes.write_note", {"text": "two"})
        with pytest.raises(ToolUnavailable, match="left alone") as at_once:
            await box.call("mcp.notes.lookup", {"city": "Kyiv"})

        second = start_notes(tmp_path, port=first.port)
        async with asyncio.timeout(10):
            while (count := await _count(box)) is None:  # noqa: ASYNC110 - it is left alone for a moment
                await asyncio.sleep(0.05)
        noted = await box.call("mcp.notes.write_note", {"text": "two"})
    second.process.kill()

    assert away.value.retryable
    assert at_once.value.retry_after is not None
    assert count == {"result": 0}
    assert noted.content == {"result": 1}


async def _count(box: Toolbox) -> Any:
    try:
        return (await box.call("mcp.notes.count_notes", {})).content
    except ToolUnavailable:
        return None


async def test_a_tool_with_effects_fires_once_and_a_lost_answer_is_a_doubt(ledger: EffectLedger) -> None:
    async with opened(as_program(), effects=an_attempt(ledger)) as box:
        notes = [await box.call("mcp.notes.write_note", {"text": "one"}) for _ in range(2)]
        with pytest.raises(EffectUncertain):
            await box.call("mcp.notes.write_and_break", {"text": "two"})

    assert [note.content for note in notes] == [{"result": 1}, {"result": 1}]


async def test_a_program_gets_no_secrets_and_ends_with_the_worker(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "a-secret-of-the-worker")
    pid_file = tmp_path / "pid"
    async with opened(as_program(env={"NOTES_REGION": "north"})) as box:
        variables = (await box.call("mcp.notes.variables", {})).content["result"]
        await box.call("mcp.notes.leave_pid", {"path": str(pid_file)})
        pid = int(pid_file.read_text())
        group = os.getpgid(pid)

    assert "NOTES_REGION" in variables
    assert "OPENAI_API_KEY" not in variables
    assert group != os.getpgid(0)
    assert until(lambda: is_gone(pid), "the program has ended")


async def test_a_program_that_never_says_a_word_does_not_stay_behind(tmp_path: Path) -> None:
    pid_file = tmp_path / "pid"
    mute = "import os, pathlib, sys, time; pathlib.Path(sys.argv[1]).write_text(str(os.getpid())); time.sleep(60)"
    server = McpServer(command=(sys.executable, "-c", mute, str(pid_file)))
    connection = McpConnection("mute", partial(create_client, server), patience=1.0)

    with pytest.raises(ToolNotReached, match="TimeoutError"):
        await connection.connect()
    await connection.close()

    assert until(lambda: is_gone(int(pid_file.read_text())), "the program has ended")


async def test_the_runs_of_a_worker_share_a_session(tmp_path: Path) -> None:
    servers = {"notes": as_program()}
    boxes = Toolboxes(FunctionTools(()), McpTools(servers), servers)
    try:
        for task in ("task-1", "task-2"):
            box = boxes.open(AGENT, ToolCall("acme", task), effects=NoEffects())
            await box.call("mcp.notes.leave_pid", {"path": str(tmp_path / task)})
    finally:
        await boxes.close()

    assert (tmp_path / "task-1").read_text() == (tmp_path / "task-2").read_text()


async def test_a_program_that_cannot_be_started_is_unavailable() -> None:
    server = McpServer(command=("no-such-program-anywhere",), allow={"ToolAgent": ("lookup",)})
    async with opened(server) as box:
        with pytest.raises(ToolUnavailable, match="FileNotFoundError"):
            await box.call("mcp.notes.lookup", {"city": "Kyiv"})
        assert await box.describe() == []
