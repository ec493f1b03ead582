"""`orchestrate dead-letters`, `tasks artifacts` and `tasks effects` against the real API behind a socket."""

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from app.artifacts.places import Part, place_of
from app.cli.exit_codes import code_of_error
from app.cli.main import app
from app.errors import Invalid, OrchestratorError
from tests.api.harness import NOBODY, Api, api_settings, stores_of
from tests.api.serving import served_api
from tests.effect_builders import MAIL, Receiver, an_attempt
from tests.processes import Server


@dataclass
class Terminal:
    api: Api

    async def run(self, *arguments: str) -> Result:
        """The command as a shell would run it, in a thread of its own."""
        argv = [*arguments, "--server", str(self.api.client.base_url)]
        return await asyncio.to_thread(CliRunner().invoke, app, argv, env={"COLUMNS": "200"})

    async def prints(self, *arguments: str) -> str:
        result = await self.run(*arguments)
        assert result.exit_code == 0, result.output
        return result.stdout

    async def json(self, *arguments: str) -> Any:
        return json.loads(await self.prints(*arguments, "--json"))

    async def fails(self, *arguments: str) -> OrchestratorError:
        error = (await self.run(*arguments)).exception
        assert isinstance(error, OrchestratorError)
        return error


@pytest.fixture
async def api(store: Server, redis_url: str) -> AsyncIterator[Api]:
    async with served_api(api_settings(**stores_of(store, redis_url))) as started:
        yield started


@pytest.fixture
def terminal(api: Api) -> Terminal:
    return Terminal(api)


async def dead(api: Api, *, error_type: str = "LLM_ERROR", **body: Any) -> str:
    task_id = await api.submit(**body)
    await api.hand().fail(task_id, error_type=error_type)
    return task_id


async def an_uncertain_effect(api: Api, task_id: str) -> str:
    receiver = Receiver(deduplicates=False)
    effects = an_attempt(api.core.effects, tenant_id="default", task_id=task_id)
    work = asyncio.create_task(effects.perform("send_email", MAIL, receiver.take_and_hang, step="welcome"))
    await receiver.was_called.wait()
    work.cancel()
    await asyncio.wait({work})
    return receiver.keys[0]


async def test_what_a_task_made_is_listed_and_downloaded_once(api: Api, terminal: Terminal, tmp_path: Path) -> None:
    task_id = await api.submit()
    kept = await api.core.artifacts.put(place_of("default", task_id, Part.OUTPUTS), b"<svg/>", "image/svg+xml")
    chart = {"name": "chart-1.svg", "media_type": "image/svg+xml", "sha256": kept.sha256, "size": 6}
    await api.hand().complete(task_id, result={"summary": "Drawn.", "raw_output": "Drawn.", "artifacts": [chart]})

    listed = await terminal.prints("tasks", "artifacts", task_id)
    saved = await terminal.prints("tasks", "artifacts", task_id, "--save", str(tmp_path / "charts"))
    again = await terminal.fails("tasks", "artifacts", task_id, "--save", str(tmp_path / "charts"))

    assert listed == f"chart-1.svg - 6 bytes, {kept.sha256}\n"
    assert saved.startswith(str(tmp_path / "charts" / "chart-1.svg"))
    assert (tmp_path / "charts" / "chart-1.svg").read_bytes() == b"<svg/>"
    assert "chart-1.svg: File exists" in again.message


async def test_no_name_leads_out_of_the_folder_it_is_saved_in(api: Api, terminal: Terminal, tmp_path: Path) -> None:
    task_id, folder = await api.submit(), tmp_path / "saved"
    names = ["../../up", "..\\..\\over", "..", "/etc/shadow"]
    made = []
    for name in names:
        kept = await api.core.artifacts.put(place_of("default", task_id, Part.OUTPUTS), name.encode(), "text/plain")
        made.append({"name": name, "media_type": "text/plain", "sha256": kept.sha256, "size": kept.size})
    await api.hand().complete(task_id, result={"summary": "Made.", "raw_output": "Made.", "artifacts": made})

    said = await terminal.prints("tasks", "artifacts", task_id, "--save", str(folder))

    assert sorted(path.name for path in folder.iterdir()) == ["artifact", "over", "shadow", "up"]
    assert not (tmp_path / "up").exists()
    assert [line.split(" - ")[0] for line in said.splitlines()] == [
        str(folder / name) for name in ("up", "over", "artifact", "shadow")
    ]


async def test_dead_letters_are_listed_with_reason_and_agent(api: Api, terminal: Terminal) -> None:
    known = [await dead(api, agent="EchoAgent"), await dead(api, error_type="LLM_AUTH")]

    said = await terminal.prints("dead-letters", "list")
    page = await terminal.json("dead-letters", "list", "--error-type", "LLM_AUTH")
    mine = await terminal.json("dead-letters", "list", "--agent-type", "echo", "--limit", "1")

    rows = said.splitlines()
    assert rows[0].split() == ["task", "failed", "agent", "error", "attempts", "message"]
    assert {row.split()[0] for row in rows[1:3]} == set(known)
    assert any("EchoAgent" in row and "LLM_ERROR" in row and "the model said no" in row for row in rows)
    assert [item["task_id"] for item in page["items"]] == [known[1]]
    assert [item["task_id"] for item in mine["items"]] == [known[0]]


async def test_a_dead_letter_is_shown_with_its_history(api: Api, terminal: Terminal) -> None:
    task_id = await dead(api)

    said = await terminal.prints("dead-letters", "show", task_id)

    assert "LLM_ERROR: the model said no" in said
    assert [word for word in ("accepted", "claimed", "failed (LLM_ERROR)") if word not in said] == []
    assert (await terminal.json("dead-letters", "show", task_id))["task_id"] == task_id


async def test_one_is_redriven_by_its_id(api: Api, terminal: Terminal) -> None:
    task_id = await dead(api)

    said = await terminal.prints("dead-letters", "redrive", task_id)

    assert said == f"{task_id} is queued again\n"
    assert (await api.read(task_id))["status"] == "queued"


async def test_many_are_redriven_by_filter(api: Api, terminal: Terminal) -> None:
    known = [await dead(api, error_type="LLM_AUTH") for _ in range(3)]
    other = await dead(api)

    said = await terminal.prints("dead-letters", "redrive", "--error-type", "LLM_AUTH", "--limit", "2")
    rest = await terminal.json("dead-letters", "redrive", "--error-type", "LLM_AUTH")

    assert said == "2 queued again; more are left, run it again\n"
    assert (rest["redriven"], rest["remaining"]) == (1, False)
    assert {(await api.read(task_id))["status"] for task_id in known} == {"queued"}
    assert (await api.read(other))["status"] == "failed"


async def test_a_span_and_everything_can_be_redriven(api: Api, terminal: Terminal) -> None:
    await dead(api)

    none = await terminal.json("dead-letters", "redrive", "--failed-before", "2020-01-01")
    empty = await terminal.json("dead-letters", "redrive", "--agent-type", "code")
    everything = await terminal.prints("dead-letters", "redrive", "--all")

    assert (none["redriven"], empty["redriven"], everything) == (0, 0, "1 queued again\n")


@pytest.mark.parametrize("arguments", [[], ["--limit", "5"], [NOBODY, "--all"], [NOBODY, "--error-type", "TIMEOUT"]])
async def test_an_unclear_redrive_is_wrong_usage_and_asks_nobody(terminal: Terminal, arguments: list[str]) -> None:
    error = await terminal.fails("dead-letters", "redrive", *arguments)

    assert isinstance(error, Invalid)
    assert code_of_error(error) == 2


async def test_what_is_no_dead_letter_says_so(api: Api, terminal: Terminal) -> None:
    error = await terminal.fails("dead-letters", "show", await api.submit())

    assert "DEAD_LETTER_NOT_FOUND" in error.message


async def test_effects_are_listed_and_resolved(api: Api, terminal: Terminal) -> None:
    task_id = await dead(api, error_type="EFFECT_UNCERTAIN")
    key = await an_uncertain_effect(api, task_id)

    before = await terminal.prints("tasks", "effects", task_id)
    noted = await terminal.prints("tasks", "effects", task_id, "--resolve", key, "--happened")
    after = await terminal.json("tasks", "effects", task_id)

    assert before.splitlines()[0].split() == ["key", "sent", "status", "times", "effect"]
    assert key in before
    assert "uncertain" in before
    assert "send_email (welcome)" in before
    assert noted == f"noted; now: orchestrate tasks retry {task_id}\n"
    assert [effect["status"] for effect in after["items"]] == ["done"]


async def test_what_did_not_happen_is_resolved_as_such(api: Api, terminal: Terminal) -> None:
    task_id = await dead(api)
    key = await an_uncertain_effect(api, task_id)

    answer = await terminal.json("tasks", "effects", task_id, "--resolve", key, "--not-happened")

    assert (answer["key"], answer["status"]) == (key, "failed")


@pytest.mark.parametrize("options", [["--resolve", "x"], ["--happened"], ["--not-happened"]])
async def test_half_a_statement_is_wrong_usage(terminal: Terminal, options: list[str]) -> None:
    error = await terminal.fails("tasks", "effects", NOBODY, *options)

    assert isinstance(error, Invalid)
