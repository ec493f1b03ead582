"""`orchestrate evaluate`, `tasks review` and `task --evaluation` against the real API behind a socket."""

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from app.cli.evaluation_files import read_evaluation
from app.cli.exit_codes import code_of_error
from app.cli.main import app
from app.cli.task import Submission
from app.errors import Invalid, OrchestratorError
from app.jobs.models import Status
from tests.api.harness import Json
from tests.api.world import World, started_world, world_settings
from tests.processes import Server

TEXT = "The harbour was built of granite in three summers."
RUBRIC = {"criteria": [{"name": "subject", "description": "It is about a harbour of granite."}]}
GOOD: Json = {"checks": [{"type": "length", "min_words": 5}], "rubric": RUBRIC}
STRICT: Json = {"checks": [{"type": "length", "min_words": 500}], "retries": 0, "on_failure": "flag"}
CASES = [
    {"task": "Write about a harbour", "output": TEXT, "scores": {"subject": 5}},
    {"output": "Nothing of the kind is said in this long sentence.", "scores": {"subject": 1}},
    {"output": "Short.", "scores": {"subject": 4}},
]


@dataclass
class Terminal:
    world: World
    folder: Path
    environment: dict[str, str]

    def file(self, name: str, value: Any) -> str:
        path = self.folder / name
        path.write_text(value if isinstance(value, str) else json.dumps(value), "utf-8")
        return str(path)

    def wanted(self, value: Any) -> str:
        return f"@{self.file('checks.json', value)}"

    async def run(self, *arguments: str) -> Result:
        """The command as a shell would run it, while a worker takes up what is queued."""
        command = asyncio.create_task(
            asyncio.to_thread(CliRunner().invoke, app, list(arguments), env={**self.environment, "COLUMNS": "200"})
        )
        async with asyncio.timeout(20):
            while not command.done():
                await self.work()
                await asyncio.sleep(0.01)
        return command.result()

    async def work(self) -> None:
        queued = {"status": Status.QUEUED.value}
        for task in await self.world.api.core.tasks.find_many(queued, limit=10, fields=("_id",)):
            await self.world.runner.run(task["_id"], worker="w1")

    async def fails(self, *arguments: str) -> OrchestratorError:
        error = (await self.run(*arguments)).exception
        assert isinstance(error, OrchestratorError)
        return error


@pytest.fixture
async def terminal(
    store: Server, redis_url: str, simulator: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Terminal]:
    monkeypatch.chdir(tmp_path)
    async with started_world(world_settings(store, redis_url, simulator), simulator, over_socket=True) as world:
        environment = {
            "ORCHESTRATE_URL": str(world.api.client.base_url),
            "OPENAI_API_KEY": "simulated",
            "OPENAI_BASE_URL": f"{simulator.http_url}/v1",
            "AGENT_PLUGINS": "none",
        }
        yield Terminal(world, tmp_path, environment)


async def test_a_task_is_evaluated_shown_and_reviewed_from_the_terminal(terminal: Terminal) -> None:
    submission = Submission(TEXT, "EchoAgent", evaluation=read_evaluation(terminal.wanted(STRICT)))
    answer = await terminal.world.api.post("/v1/agent/execute", body=submission.body)
    await terminal.work()
    task_id = answer.json()["task_id"]

    shown = await terminal.run("tasks", "show", task_id)
    undecided = await terminal.fails("tasks", "review", task_id)
    reviewed = await terminal.run("tasks", "review", task_id, "--reject", "--comment", "Too short.")
    await terminal.work()
    ended = await terminal.run("tasks", "show", task_id)
    late = await terminal.fails("tasks", "review", task_id, "--accept")

    assert "evaluation failed: 0.02 of 0.00 needed" in shown.stdout
    assert "  0.02  length: it has 9 words, and at least 500 are needed" in shown.stdout
    assert TEXT in shown.stdout
    assert isinstance(undecided, Invalid)
    assert reviewed.exit_code == 0, reviewed.output
    assert "REJECTED: a reviewer did not accept the output: Too short." in ended.stdout
    assert "reject Too short." in ended.stdout
    assert "TASK_NOT_WAITING" in late.message


async def test_an_accepted_output_completes_its_task(terminal: Terminal) -> None:
    waiting = await terminal.world.run(TEXT, agent="EchoAgent", evaluation=STRICT)

    accepted = await terminal.run("tasks", "review", waiting["task_id"], "--accept")
    await terminal.work()

    assert accepted.exit_code == 0, accepted.output
    ended = await terminal.world.api.read(waiting["task_id"])
    assert (ended["status"], ended["review"]["decision"]) == ("completed", "accept")


async def test_a_stored_output_is_evaluated_and_stays_as_it_is(terminal: Terminal) -> None:
    done = await terminal.world.run(TEXT, agent="EchoAgent")
    path = terminal.file("task.json", done)
    wanted = terminal.wanted(GOOD)

    of_task = await terminal.run("evaluate", done["task_id"], "--evaluation", wanted)
    of_file = await terminal.run("evaluate", "output", path, "--evaluation", wanted, "--json")
    of_result = await terminal.run("evaluate", "--evaluation", wanted, terminal.file("r.json", done["result"]))
    failing = await terminal.run("evaluate", path, "--evaluation", terminal.wanted(STRICT))

    assert of_task.exit_code == 0, of_task.output
    assert "evaluation passed: 1.00 of 0.70 needed" in of_task.stdout
    verdict = json.loads(of_file.stdout)
    assert (verdict["passed"], verdict["criteria"][0]["score"]) == (True, 1.0)
    assert verdict["tokens"] > 0
    assert of_result.exit_code == 0, of_result.output
    assert (failing.exit_code, "evaluation failed" in failing.stdout) == (1, True)
    assert await terminal.world.api.read(done["task_id"]) == done


async def test_a_judge_that_is_away_is_neither_passed_nor_failed(terminal: Terminal) -> None:
    await terminal.world.simulator.post("/_sim/faults", json={"role": "judge", "error": "500"})
    path = terminal.file("r.json", {"raw_output": TEXT})

    error = await terminal.fails("evaluate", path, "--evaluation", terminal.wanted(GOOD))

    assert "LLM_ERROR" in error.message
    assert code_of_error(error) == 5


async def test_a_judge_is_compared_with_people(terminal: Terminal) -> None:
    path = terminal.file("cases.jsonl", "\n".join(map(json.dumps, CASES)))
    arguments = ("evaluate", "calibrate", path, "--evaluation", terminal.wanted(GOOD))

    shown = await terminal.run(*arguments)
    as_json = await terminal.run(*arguments, "--json", "--min-agreement", "0.6")

    assert shown.exit_code == 1, shown.output
    header, row, whole = shown.stdout.splitlines()[:3]
    assert header.split() == ["criterion", "cases", "exact", "within", "one", "kappa", "bias"]
    assert row.split()[:4] == ["subject", "3", "33.3%", "66.7%"]
    assert whole.split()[0] == "all"
    assert f"{path}:3: subject: a person gave 4, the judge 1" in shown.stdout
    assert as_json.exit_code == 0, as_json.output
    told = json.loads(as_json.stdout)
    assert (told["agreement"], told["all"]["bias"]) == (pytest.approx(2 / 3), pytest.approx(-2 / 3))
    assert [one["given"] for one in told["scores"]] == [5, 2, 1]


async def test_a_verdict_that_cannot_be_used_agrees_with_nobody(terminal: Terminal) -> None:
    await terminal.world.simulator.post("/_sim/faults", json={"role": "judge", "error": "500"})
    path = terminal.file("cases.jsonl", json.dumps(CASES[0]))

    result = await terminal.run("evaluate", "calibrate", path, "--evaluation", terminal.wanted(GOOD))

    assert result.exit_code == 1, result.output
    assert f"{path}:1: subject: a person gave 5, the judge nothing: LLM_ERROR" in result.stdout
