"""`orchestrate executions`, and `run`, `report` and `graph` with `--server`, against the API and a worker."""

import asyncio
import json
import os
import sys
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from app.cli.exit_codes import ExitCode
from app.errors import NotFound
from tests.api.hands import Hands
from tests.api.serving import Stream
from tests.api.test_cli_commands import Terminal
from tests.api.test_executions import FAILING, GREETING, read, started
from tests.api.test_executions_steered import APPROVING, WAITING
from tests.api.world import StartWorld
from tests.architecture.command_line import Call, calls, curl_of
from tests.architecture.markdown import Block, blocks_of
from tests.architecture.tree import ROOT

URL = "http://localhost:8000"


@pytest.fixture
async def hands(start_world: StartWorld) -> AsyncIterator[Hands]:
    async with start_world(over_socket=True) as world:
        hands = Hands(world.api, [world.worker])
        yield hands
        await hands.rest()


@pytest.fixture
def terminal(hands: Hands) -> Terminal:
    return Terminal(hands.api)


@pytest.fixture
async def at_work(hands: Hands) -> AsyncIterator[None]:
    """The worker does whatever is there to be done."""

    async def work() -> None:
        while True:
            await hands.take_up()
            await asyncio.sleep(0.02)

    working = asyncio.create_task(work())
    yield
    working.cancel()
    await asyncio.wait({working})


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@dataclass(frozen=True, slots=True)
class Said:
    exit_code: int
    stdout: str
    stderr: str


async def followed(terminal: Terminal, *arguments: str) -> Said:
    """What follows an execution listens to Ctrl-C, which only a process of its own can."""
    argv = ("-m", "app.cli.main", *arguments, "--server", str(terminal.api.client.base_url))
    environment = {**os.environ, "COLUMNS": "200", "PYTHONPATH": str(ROOT)}
    process = await asyncio.create_subprocess_exec(sys.executable, *argv, stdout=PIPE, stderr=PIPE, env=environment)
    stdout, stderr = await asyncio.wait_for(process.communicate(), 30)
    return Said(process.returncode or 0, stdout.decode(), stderr.decode())


def written(folder: Path, text: str) -> str:
    (folder / "w.yaml").write_text(text, encoding="utf-8")
    return "w.yaml"


@pytest.mark.slow
@pytest.mark.usefixtures("at_work")
async def test_a_file_is_run_on_a_server_and_followed_to_its_end(terminal: Terminal, folder: Path) -> None:
    result = await followed(terminal, "run", written(folder, GREETING), "--input", "text=hello")

    assert result.exit_code == ExitCode.OK, result.stderr
    told = [line.strip() for line in result.stderr.splitlines()]
    assert told[0].startswith("execution ")
    assert {"each[0] began", "each[0] succeeded", "never skipped", "execution completed"} <= set(told)
    assert result.stdout.splitlines()[0].startswith("completed in ")
    assert result.stdout.splitlines()[-1] == "number: 2"


@pytest.mark.slow
@pytest.mark.usefixtures("at_work")
@pytest.mark.long
async def test_an_approval_and_an_event_are_given_from_the_command_line(terminal: Terminal, folder: Path) -> None:
    first = await followed(terminal, "run", written(folder, APPROVING), "--json")
    execution_id = json.loads(first.stdout)["execution_id"]
    second = await followed(
        terminal, "resume", execution_id, "--approve", 'check={"approved": true, "form": {"reason": "x"}}'
    )
    waiting = await started(terminal.api, WAITING)
    third = await followed(terminal, "resume", waiting, "--event", 'payment.received@o1={"amount": 4}')

    assert (first.exit_code, second.exit_code) == (ExitCode.AWAITING_APPROVAL, ExitCode.OK), second.stderr
    assert "orchestrate executions approve" in first.stderr
    assert second.stdout.splitlines()[-1] == "reason: x"
    assert (third.exit_code, third.stdout.splitlines()[-1]) == (ExitCode.OK, "amount: 4")


@pytest.mark.slow
async def test_executions_are_listed_shown_and_explained(hands: Hands, terminal: Terminal) -> None:
    execution_id = await started(hands.api, FAILING)
    why = await terminal.prints("executions", "why", execution_id)
    await hands.go_on(execution_id)

    rows = (await terminal.prints("executions", "list", "--workflow", "failing")).splitlines()
    shown = await terminal.prints("executions", "show", execution_id)
    status = await terminal.prints("executions", "status", execution_id)
    errors = await terminal.prints("executions", "logs", execution_id, "--level", "error")
    report = await terminal.prints("report", execution_id)

    assert "orchestrate worker" in why
    assert rows[0].split() == ["execution", "status", "workflow", "created", "done"]
    assert rows[1].split()[:3] == [execution_id, "failed", "failing"]
    assert shown == report
    assert "second: EXPRESSION_FAILED" in shown
    assert status.startswith("failed, ")
    assert [line.split()[2] for line in errors.splitlines()] == ["second:"]
    assert (await followed(terminal, "executions", "watch", execution_id)).exit_code == ExitCode.FAILED


async def test_an_execution_is_paused_cancelled_and_retried(hands: Hands, terminal: Terminal) -> None:
    execution_id = await started(hands.api, FAILING)

    said = [await terminal.prints("executions", verb, execution_id) for verb in ("pause", "resume", "cancel")]
    await hands.go_on(execution_id)
    again = await terminal.json("executions", "retry", execution_id)
    error = await terminal.fails("executions", "cancel", "nobody")

    assert said == [f"{execution_id} {told}\n" for told in ("is paused", "goes on", "cancellation is asked for")]
    assert again["series"] == 2
    assert "EXECUTION_NOT_FOUND" in error.message
    assert not isinstance(error, NotFound)


async def test_an_execution_is_drawn_with_how_its_steps_ended(hands: Hands, terminal: Terminal) -> None:
    execution_id = await started(hands.api, FAILING)
    await hands.go_on(execution_id)

    mermaid = await terminal.prints("graph", execution_id)
    svg = await terminal.prints("graph", "failing", "--format", "svg")

    assert mermaid.startswith("flowchart TD")
    assert "class s2 failed" in mermaid
    assert svg.startswith("<svg")


@asynccontextmanager
async def streaming(hands: Hands, execution_id: str, **headers: str) -> AsyncIterator[Stream]:
    path = f"/v1/executions/{execution_id}/events"
    async with hands.api.client.stream("GET", path, headers=headers) as response:
        yield Stream(response)


async def test_events_come_while_it_runs_and_again_from_any_place(hands: Hands) -> None:
    execution_id = await started(hands.api, GREETING, {"text": "x"})

    async with streaming(hands, execution_id, **{"Last-Event-ID": "0"}) as stream:
        first = await stream.next()
        await hands.go_on(execution_id)
        rest = await stream.rest()
    async with streaming(hands, execution_id, **{"Last-Event-ID": rest[-3].id}) as stream:
        again = await stream.rest()
    over = await hands.api.get(f"/v1/executions/{execution_id}/events", headers={"Last-Event-ID": rest[-1].id})

    assert json.loads(first.data)["status"] == "queued"
    steps = [json.loads(event.data) for event in rest if event.event == "step"]
    assert {(step["path"], step["event"]) for step in steps} >= {("each[1]", "step.started"), ("count", "step.ended")}
    assert json.loads(rest[-1].data)["status"] == "completed"
    assert [event.id for event in again] == [event.id for event in rest[-2:]]
    assert over.status_code == 204


def guide(*languages: str) -> list[Block]:
    return [block for block in blocks_of(*languages) if block.page.name == "execute-a-workflow.md"]


def guided() -> Iterator[Call]:
    for block in guide("bash"):
        yield from calls(block.text)


@pytest.mark.slow
@pytest.mark.usefixtures("at_work")
async def test_the_guide_does_what_it_says(hands: Hands, terminal: Terminal, folder: Path) -> None:
    (folder / "refund.yaml").write_text(guide("yaml")[0].text, encoding="utf-8")
    execution_id = ""
    for call in guided():
        arguments = [word.replace("$ID", execution_id) for word in call.arguments if word not in ("--server", URL)]
        if call.program == "curl":
            await requested(hands, call, execution_id)
            continue
        waits = arguments[1] == "watch" or arguments[0] == "run"
        result = await (followed(terminal, *arguments) if waits else terminal.run(*arguments))
        assert result.exit_code == (ExitCode.AWAITING_APPROVAL if waits else ExitCode.OK), (arguments, result.stderr)
        if arguments[1] == "start":
            execution_id = result.stdout.strip()
        if arguments[1] == "signal":
            await hands.go_on(execution_id, until=lambda job: job.status.is_final)

    found = await read(hands.api, execution_id)
    assert found["outputs"] == {"reason": "damaged", "paid": {"at": "2026-11-21"}}


async def requested(hands: Hands, call: Call, execution_id: str) -> None:
    curl = curl_of(call)
    assert curl is not None
    body: Any = json.loads(curl.body) if curl.body else None
    answer = await hands.api.client.request(curl.method, curl.path.replace("$ID", execution_id), json=body)
    assert answer.status_code < 300, answer.text
