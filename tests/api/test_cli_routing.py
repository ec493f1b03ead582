"""`orchestrate routing show` and `orchestrate tasks clarify` against the real API behind a socket."""

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass

import pytest
from typer.testing import CliRunner, Result

from app.bootstrap.execution import Execution, build_execution
from app.cli.main import app
from app.errors import Invalid
from app.jobs.models import Status
from app.settings import load_settings
from tests.api.harness import Api, api_settings, stores_of
from tests.api.serving import served_api
from tests.processes import Server


@dataclass
class Terminal:
    api: Api
    worker: Execution

    async def run(self, *arguments: str) -> Result:
        """The command as a shell would run it, while a worker takes up what is queued."""
        argv = [*arguments, "--server", str(self.api.client.base_url)]
        command = asyncio.create_task(asyncio.to_thread(CliRunner().invoke, app, argv, env={"COLUMNS": "200"}))
        async with asyncio.timeout(20):
            while not command.done():
                await self.work()
                await asyncio.sleep(0.01)
        return command.result()

    async def work(self) -> None:
        queued = {"status": Status.QUEUED.value}
        for task in await self.api.core.tasks.find_many(queued, limit=10, fields=("_id",)):
            await self.worker.runner.run(task["_id"], worker="w1")


@pytest.fixture
async def terminal(store: Server, redis_url: str, simulator: Server) -> AsyncIterator[Terminal]:
    settings = api_settings(**stores_of(store, redis_url))
    models = {"openai_api_key": "simulated", "openai_base_url": f"{simulator.http_url}/v1"}
    given = {**settings.model_dump(), **models, "web_search_provider": "none"}
    async with served_api(settings) as api:
        execution = await build_execution(load_settings(_env_file=None, **given))
        try:
            yield Terminal(api, execution)
        finally:
            await execution.close()


async def test_a_decision_is_shown_with_its_grounds_and_nothing_is_done(terminal: Terminal) -> None:
    shown = await terminal.run("routing", "show", "Write a Python function to reverse a string")
    refused = await terminal.run("routing", "show", "Book me a flight to Paris", "--json")

    assert shown.exit_code == 0, shown.output
    lines = [" ".join(line.split()) for line in shown.stdout.splitlines()]
    assert lines[:2] == ["CodeAgent", "rule model_choice"]
    assert any(line.startswith("prompt router ") for line in lines)
    assert any("CodeAgent: the task speaks of" in line for line in lines)
    assert json.loads(refused.stdout)["error"]["type"] == "UNKNOWN_TASK_TYPE"
    assert (await terminal.api.get("/v1/tasks")).json()["items"] == []


async def test_a_question_is_shown_and_answered(terminal: Terminal) -> None:
    task_id = await terminal.api.submit("Help me with this thing here", clarify=True)
    await terminal.work()

    shown = await terminal.run("tasks", "show", task_id)
    answered = await terminal.run("tasks", "clarify", task_id, "--agent", "EchoAgent")
    await terminal.work()

    assert "name an agent (ContentAgent, CodeAgent, TextProcessorAgent)" in shown.stdout
    assert answered.exit_code == 0, answered.output
    assert (await terminal.api.read(task_id))["status"] == "completed"
    assert isinstance((await terminal.run("tasks", "clarify", task_id)).exception, Invalid)
