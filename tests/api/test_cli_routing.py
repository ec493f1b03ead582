"""`orchestrate routing show` and `orchestrate tasks clarify` against the real API behind a socket."""

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass

import pytest
from typer.testing import CliRunner, Result

from app.cli.main import app
from app.errors import Invalid
from app.jobs.models import Status
from tests.api.world import StartWorld, World


@dataclass
class Terminal:
    world: World

    async def run(self, *arguments: str) -> Result:
        """The command as a shell would run it, while a worker takes up what is queued."""
        argv = [*arguments, "--server", str(self.world.api.client.base_url)]
        command = asyncio.create_task(asyncio.to_thread(CliRunner().invoke, app, argv, env={"COLUMNS": "200"}))
        async with asyncio.timeout(20):
            while not command.done():
                await self.work()
                await asyncio.sleep(0.01)
        return command.result()

    async def work(self) -> None:
        queued = {"status": Status.QUEUED.value}
        for task in await self.world.api.core.tasks.find_many(queued, limit=10, fields=("_id",)):
            await self.world.work(task["_id"])


@pytest.fixture
async def terminal(start_world: StartWorld) -> AsyncIterator[Terminal]:
    async with start_world(over_socket=True) as world:
        yield Terminal(world)


async def test_a_decision_is_shown_with_its_grounds_and_nothing_is_done(terminal: Terminal) -> None:
    shown = await terminal.run("routing", "show", "Write a Python function to reverse a string")
    refused = await terminal.run("routing", "show", "Book me a flight to Paris", "--json")

    assert shown.exit_code == 0, shown.output
    lines = [" ".join(line.split()) for line in shown.stdout.splitlines()]
    assert lines[:2] == ["CodeAgent", "rule model_choice"]
    assert any(line.startswith("prompt router ") for line in lines)
    assert any("CodeAgent: the task speaks of" in line for line in lines)
    assert json.loads(refused.stdout)["error"]["type"] == "UNKNOWN_TASK_TYPE"
    assert (await terminal.world.api.get("/v1/tasks")).json()["items"] == []


async def test_a_question_is_shown_and_answered(terminal: Terminal) -> None:
    task_id = await terminal.world.api.submit("Help me with this thing here", clarify=True)
    await terminal.work()

    shown = await terminal.run("tasks", "show", task_id)
    answered = await terminal.run("tasks", "clarify", task_id, "--agent", "EchoAgent")
    await terminal.work()

    assert "name an agent (ContentAgent, CodeAgent, TextProcessorAgent)" in shown.stdout
    assert answered.exit_code == 0, answered.output
    assert (await terminal.world.api.read(task_id))["status"] == "completed"
    assert isinstance((await terminal.run("tasks", "clarify", task_id)).exception, Invalid)
