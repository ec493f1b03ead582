"""`orchestrate validate`, `schema` and `workflows` against files and the real API behind a socket."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from app.cli.exit_codes import ExitCode
from app.cli.main import app
from app.errors import Invalid, NotFound
from app.workflows.language.json_schema import workflow_schema
from tests.api.harness import Api, api_settings, stores_of
from tests.api.serving import served_api
from tests.api.test_cli_commands import Terminal
from tests.api.test_workflows import CALLING, a_document
from tests.architecture.command_line import Call, calls, curl_of
from tests.architecture.markdown import Block, blocks_of
from tests.processes import Server

SERVER = ("--server", "http://localhost:8000")
MEDIA_TYPES = {".yaml": "application/yaml", ".json": "application/json"}


def guide(*languages: str) -> list[Block]:
    return [block for block in blocks_of(*languages) if block.page.name == "define-a-workflow.md"]


def told(text: str) -> str:
    """The name of the document."""
    return next(line.split(":")[1].strip() for line in text.splitlines() if line.startswith("name:"))


def validate(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["validate", *arguments], env={"COLUMNS": "200"})


@pytest.fixture
async def api(store: Server, redis_url: str) -> AsyncIterator[Api]:
    async with served_api(api_settings(**stores_of(store, redis_url))) as started:
        yield started


@pytest.fixture
def terminal(api: Api) -> Terminal:
    return Terminal(api)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_valid_file_is_told_with_its_name_and_digest(folder: Path) -> None:
    (folder / "w.yaml").write_text(a_document(), encoding="utf-8")

    result = validate("w.yaml")
    found = json.loads(validate("w.yaml", "--json").stdout)

    assert result.exit_code == ExitCode.OK
    assert result.stdout == f"w.yaml is valid: analysis, {found['digest']}\n"
    assert (found["valid"], found["problems"]) == (True, [])


def test_an_invalid_file_is_told_problem_by_problem_and_fails(folder: Path) -> None:
    broken = a_document(agent="NobodyAgent").replace("needs: [say]", "needs: [sya]")
    (folder / "w.yaml").write_text(broken, encoding="utf-8")

    result = validate("w.yaml")
    found = json.loads(validate("w.yaml", "--json").stdout)

    assert result.exit_code == ExitCode.USAGE
    assert result.stdout == ""
    assert [line.split(":")[:2] for line in result.stderr.splitlines()] == [
        ["w.yaml", str(one["line"])] for one in found["problems"]
    ]
    assert len(found["problems"]) >= 2
    assert found["valid"] is False


def test_sub_workflows_are_files_beside_the_document(folder: Path) -> None:
    inner = a_document("inner").replace("type: string}\n  rounds", "type: string, default: x}\n  rounds")
    (folder / "inner.yaml").write_text(inner, encoding="utf-8")
    (folder / "w.yaml").write_text(CALLING.format(name="w", called="inner.yaml"), encoding="utf-8")

    assert validate("w.yaml").exit_code == ExitCode.OK
    (folder / "inner.yaml").write_text(inner.replace("needs: [say]", "needs: [sya]"), encoding="utf-8")
    result = validate("w.yaml")

    assert result.exit_code == ExitCode.USAGE
    assert "inner.yaml:" in result.stderr


@pytest.mark.parametrize(
    ("name", "content", "error"),
    [
        ("missing.yaml", None, Invalid),
        (".", None, Invalid),
        ("latin.yaml", "name: é".encode("latin-1"), Invalid),
        ("library:nothing", None, NotFound),
    ],
)
def test_what_cannot_be_read_is_named(folder: Path, name: str, content: bytes | None, error: type[Exception]) -> None:
    if content is not None:
        (folder / name).write_bytes(content)

    found = validate(name).exception

    assert isinstance(found, error)
    assert name.removeprefix("library:") in str(found)


def test_the_schema_is_printed_for_editors() -> None:
    result = CliRunner().invoke(app, ["schema"])

    assert json.loads(result.stdout) == workflow_schema()


async def test_a_workflow_is_stored_listed_shown_and_deleted(terminal: Terminal, folder: Path) -> None:
    (folder / "w.yaml").write_text(a_document(), encoding="utf-8")

    stored = await terminal.json("workflows", "put", "w.yaml")
    again = await terminal.prints("workflows", "put", "w.yaml")
    rows = (await terminal.prints("workflows", "list")).splitlines()
    shown = (await terminal.prints("workflows", "show", "analysis")).splitlines()
    source = await terminal.prints("workflows", "show", stored["workflow_id"], "--source")
    deleted = await terminal.prints("workflows", "delete", "analysis")

    assert again == f"analysis is stored: {stored['digest']}\n"
    assert rows[0].split() == ["workflow", "changed", "version", "description"]
    assert rows[1].split()[0] == "analysis"
    assert rows[1].endswith("Says it again.")
    assert shown[:6] == [
        f"analysis {stored['digest']}",
        "Says it again.",
        "inputs:   text, [rounds]",
        "outputs:  said",
        "- say: agent EchoAgent",
        "- tell: emit said after say",
    ]
    assert shown[6].endswith(" current")
    assert source == a_document()
    assert deleted == "analysis is deleted\n"
    assert (await terminal.json("workflows", "list"))["items"] == []


async def test_a_version_is_stored_only_over_the_expected_one(terminal: Terminal, folder: Path) -> None:
    (folder / "w.yaml").write_text(a_document(), encoding="utf-8")
    first = await terminal.json("workflows", "put", "w.yaml")
    (folder / "w.yaml").write_text(a_document(rounds=4), encoding="utf-8")
    second = await terminal.json("workflows", "put", "w.yaml", "--expect", first["digest"])

    error = await terminal.fails("workflows", "put", "w.yaml", "--expect", first["digest"])

    assert "WORKFLOW_CHANGED" in error.message
    old = await terminal.json("workflows", "show", "analysis", "--version", first["digest"])
    assert (second["current"], old["current"]) == (True, False)


async def test_a_server_is_asked_about_its_own_workflows(terminal: Terminal, folder: Path) -> None:
    (folder / "w.yaml").write_text(CALLING.format(name="w", called="inner"), encoding="utf-8")
    before = await terminal.run("validate", "w.yaml")
    inner = a_document("inner").replace("type: string}\n  rounds", "type: string, default: x}\n  rounds")
    (folder / "other.yaml").write_text(inner, encoding="utf-8")
    await terminal.prints("workflows", "put", "other.yaml")

    after = await terminal.run("validate", "w.yaml")

    assert (before.exit_code, after.exit_code) == (ExitCode.USAGE, ExitCode.OK)
    assert "w.yaml:6:" in before.stderr


async def test_the_guide_does_what_it_says(api: Api, terminal: Terminal, folder: Path) -> None:
    for block in guide("yaml"):
        (folder / f"{told(block.text)}.yaml").write_text(block.text, encoding="utf-8")
    (folder / "short.json").write_text(guide("json")[1].text, encoding="utf-8")

    for block in guide("bash"):
        for call in calls(block.text):
            if call.program == "curl":
                await requested(api, folder, call)
            elif "--server" in call.arguments or call.arguments[:1] == ("workflows",):
                await terminal.prints(*(word for word in call.arguments if word not in SERVER))
            elif call.program == "orchestrate":
                result = await asyncio.to_thread(CliRunner().invoke, app, list(call.arguments))
                assert result.exit_code == ExitCode.OK, result.output


async def requested(api: Api, folder: Path, call: Call) -> None:
    curl = curl_of(call)
    assert curl is not None
    file = next((folder / word[1:] for word in call.arguments if word.startswith("@")), None)
    answer = await api.client.request(
        curl.method,
        curl.path,
        content=file.read_bytes() if file else None,
        headers={"Content-Type": MEDIA_TYPES[file.suffix]} if file else None,
    )
    assert answer.status_code < 300, (call, answer.text)


async def test_the_problem_that_the_guide_shows_is_what_is_answered(api: Api) -> None:
    text = guide("yaml")[0].text.replace("needs: [sentiment]", "needs: [sentimant]")
    headers = {"Content-Type": "application/yaml"}

    answer = await api.client.post("/v1/workflows/validate", content=text.encode(), headers=headers)

    shown = json.loads(guide("json")[0].text)
    assert answer.json() == shown
