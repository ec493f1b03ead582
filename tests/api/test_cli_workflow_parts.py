"""`orchestrate workflows put` and `validate --server` of documents that call files."""

import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from app.cli.exit_codes import ExitCode
from app.cli.main import app
from app.cli.server import Server
from app.cli.workflow_files import read_with_parts
from app.errors import Invalid
from app.workflows.language.loading import DEEPEST_CALL
from app.workflows.language.problems import WorkflowInvalid
from tests.api.harness import Api, Json, api_settings, stores_of
from tests.api.serving import served_api
from tests.api.test_cli_commands import Terminal
from tests.api.test_workflow_parts import INNER, MIDDLE, NEWER, OUTER
from tests.api.test_workflows import CALLING
from tests.processes import Server as Process

LIBRARY = "library:design-plan-implement"
BOTH = CALLING + "  again:\n    workflow: {other}\n"


@pytest.fixture
async def api(store: Process, redis_url: str) -> AsyncIterator[Api]:
    async with served_api(api_settings(**stores_of(store, redis_url))) as started:
        yield started


@pytest.fixture
def terminal(api: Api) -> Terminal:
    return Terminal(api)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "parts").mkdir()
    (tmp_path / "parts" / "inner.yaml").write_text(INNER, encoding="utf-8")
    (tmp_path / "parts" / "middle.yaml").write_text(MIDDLE, encoding="utf-8")
    (tmp_path / "outer.yaml").write_text(OUTER, encoding="utf-8")
    return tmp_path


def locally(name: str) -> Json:
    found: Json = json.loads(CliRunner().invoke(app, ["validate", name, "--json"]).stdout)
    return found


def chain(folder: Path, length: int) -> None:
    for number in range(length):
        text = CALLING.format(name=f"w{number}", called=f"{number + 1}.yaml")
        (folder / f"{number}.yaml").write_text(text, encoding="utf-8")
    (folder / f"{length}.yaml").write_text(INNER, encoding="utf-8")


@pytest.mark.usefixtures("folder")
async def test_a_document_is_stored_with_its_files_and_has_the_digest_that_it_has_here(
    api: Api, terminal: Terminal
) -> None:
    stored = {name: await terminal.json("workflows", "put", name) for name in ("outer.yaml", LIBRARY)}
    again = await terminal.json("workflows", "put", "outer.yaml")

    assert {name: one["digest"] for name, one in stored.items()} == {
        name: locally(name)["digest"] for name in ("outer.yaml", LIBRARY)
    }
    assert again == stored["outer.yaml"]
    names = [item["name"] for item in (await api.get("/v1/workflows")).json()["items"]]
    assert sorted(names) == ["design-plan-implement", "outer"]


@pytest.mark.usefixtures("folder")
async def test_a_server_is_asked_about_a_document_with_its_files(api: Api, terminal: Terminal) -> None:
    found = [await terminal.json("validate", name) for name in ("outer.yaml", LIBRARY)]

    assert found == [{**locally(name), "api_version": "v1"} for name in ("outer.yaml", LIBRARY)]
    assert (await api.get("/v1/workflows")).json()["items"] == []


async def test_what_the_server_finds_wrong_in_a_file_is_told_with_its_name(terminal: Terminal, folder: Path) -> None:
    (folder / "parts" / "inner.yaml").write_text(INNER.replace("EchoAgent", "NobodyAgent"), encoding="utf-8")

    validated = await terminal.run("validate", "outer.yaml")
    error = await terminal.fails("workflows", "put", "outer.yaml")

    assert validated.exit_code == ExitCode.USAGE
    assert validated.stderr.startswith("parts/inner.yaml:11:")
    assert isinstance(error, WorkflowInvalid)
    assert error.message.startswith("parts/inner.yaml:11:")
    assert "NobodyAgent" in error.message


async def test_a_file_beside_is_meant_before_a_stored_workflow_of_that_name(terminal: Terminal, folder: Path) -> None:
    (folder / "parts" / "elsewhere.yaml").write_text(INNER, encoding="utf-8")
    current = await terminal.json("workflows", "put", "parts/elsewhere.yaml")
    (folder / "w.yaml").write_text(CALLING.format(name="w", called="inner"), encoding="utf-8")

    by_name = await terminal.json("workflows", "put", "w.yaml")
    (folder / "inner.yaml").write_text(NEWER, encoding="utf-8")
    as_file = await terminal.json("workflows", "put", "w.yaml")

    assert by_name["parts"][0]["digest"] == current["digest"]
    assert as_file["parts"][0]["digest"] == locally("inner.yaml")["digest"] != current["digest"]
    assert (await terminal.json("workflows", "show", "inner"))["digest"] == current["digest"]


def test_each_file_is_read_once_and_before_those_that_call_it(folder: Path) -> None:
    (folder / "w.yaml").write_text(
        BOTH.format(name="w", called="outer.yaml", other="parts/inner.yaml"), encoding="utf-8"
    )

    files = read_with_parts(str(folder / "w.yaml"))

    assert [file.path.as_posix() for file in files] == ["parts/inner.yaml", "parts/middle.yaml", "outer.yaml", "w.yaml"]
    assert files[1].calls == {"inner.yaml": Path("parts/inner.yaml")}
    assert files[-1].calls == {"outer.yaml": Path("outer.yaml"), "parts/inner.yaml": Path("parts/inner.yaml")}


def test_files_that_call_each_other_in_a_circle_are_refused(folder: Path) -> None:
    (folder / "a.yaml").write_text(CALLING.format(name="a", called="b.yaml"), encoding="utf-8")
    (folder / "b.yaml").write_text(CALLING.format(name="b", called="a.yaml"), encoding="utf-8")

    with pytest.raises(WorkflowInvalid, match="cannot call itself: a → b"):
        read_with_parts("a.yaml")


def test_files_that_call_each_other_too_deeply_are_refused(folder: Path) -> None:
    chain(folder, DEEPEST_CALL)

    with pytest.raises(WorkflowInvalid, match="within each other"):
        read_with_parts("0.yaml")
    assert len(read_with_parts("1.yaml")) == DEEPEST_CALL


@pytest.mark.parametrize("called", ["../outer.yaml", "link.yaml"])
def test_a_file_from_elsewhere_is_not_sent(folder: Path, called: str) -> None:
    (folder / "parts" / "link.yaml").symlink_to(folder / "outer.yaml")
    (folder / "parts" / "w.yaml").write_text(CALLING.format(name="w", called=called), encoding="utf-8")

    with pytest.raises(Invalid, match=r"outside|link"):
        read_with_parts("parts/w.yaml")


async def test_more_than_the_address_of_a_request_can_hold_is_refused_before_it_is_sent() -> None:
    async with Server("http://localhost:8000") as asked:
        with pytest.raises(Invalid, match="no request has room"):
            await asked.post_text("workflows", text="x", media_type="application/yaml", query={"part": ["x" * 70_000]})
