"""`orchestrate artifacts` against the real API behind a socket."""

import hashlib
import stat
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.api.harness import Api, api_settings, stores_of
from tests.api.serving import served_api
from tests.api.test_cli_commands import Terminal
from tests.architecture.command_line import calls, curl_of
from tests.architecture.markdown import blocks_of
from tests.processes import Server

CSV = b"region,amount\nnorth,10\n"
DIGEST = hashlib.sha256(CSV).hexdigest()


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder that commands are called in."""
    folder = tmp_path / "here"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture
async def api(store: Server, redis_url: str, tmp_path: Path) -> AsyncIterator[Api]:
    async with served_api(
        api_settings(**stores_of(store, redis_url), artifact_store=str(tmp_path / "kept"))
    ) as started:
        yield started


@pytest.fixture
def terminal(api: Api) -> Terminal:
    return Terminal(api)


def names_in(folder: Path) -> set[str]:
    return {one.name for one in folder.iterdir()}


async def test_a_file_goes_up_and_comes_down_as_it_was(here: Path, terminal: Terminal) -> None:
    (here / "sales 2026.csv").write_bytes(CSV)

    assert (await terminal.prints("artifacts", "put", "sales 2026.csv")).strip() == DIGEST
    kept = await terminal.json("artifacts", "put", "sales 2026.csv", "--name", "other.csv")
    listed = await terminal.prints("artifacts", "list")
    told = await terminal.prints("artifacts", "info", DIGEST)
    saved = (await terminal.prints("artifacts", "get", DIGEST)).strip()

    assert (kept["name"], kept["media_type"], kept["size"]) == ("sales_2026.csv", "text/csv", len(CSV))
    assert DIGEST in listed
    assert "kind: upload" in told
    assert saved == "sales_2026.csv"
    assert (here / saved).read_bytes() == CSV
    assert stat.S_IMODE((here / saved).stat().st_mode) == stat.S_IMODE((here / "sales 2026.csv").stat().st_mode)
    assert names_in(here) == {"sales 2026.csv", "sales_2026.csv"}


async def test_a_file_that_is_there_is_overwritten_only_when_told_to(here: Path, terminal: Terminal) -> None:
    (here / "new.csv").write_bytes(CSV)
    (here / "old.csv").write_bytes(b"old")
    await terminal.prints("artifacts", "put", "new.csv")

    refused = await terminal.fails("artifacts", "get", DIGEST, "-o", "old.csv")
    before = (here / "old.csv").read_bytes()
    await terminal.prints("artifacts", "get", DIGEST, "-o", "old.csv", "--force")

    assert "--force" in refused.message
    assert before == b"old"
    assert (here / "old.csv").read_bytes() == CSV


async def test_what_was_changed_in_the_store_is_not_saved(tmp_path: Path, here: Path, terminal: Terminal) -> None:
    (here / "new.csv").write_bytes(CSV)
    await terminal.prints("artifacts", "put", "new.csv")
    (blob,) = (one for one in (tmp_path / "kept").rglob("*") if one.is_file())
    blob.write_bytes(CSV.upper())

    failed = await terminal.run("artifacts", "get", DIGEST, "-o", "got.csv")

    assert failed.exit_code != 0
    assert names_in(here) == {"new.csv"}


async def test_what_is_not_there_or_wrong_is_said(here: Path, terminal: Terminal) -> None:
    assert "nothing.csv" in (await terminal.fails("artifacts", "put", "nothing.csv")).message
    assert "SHA-256" in (await terminal.fails("artifacts", "get", "latest", "-o", "x")).message
    assert "ARTIFACT_NOT_FOUND" in (await terminal.fails("artifacts", "get", DIGEST, "-o", "x")).message
    (here / "new.csv").write_bytes(CSV)
    assert "name" in (await terminal.fails("artifacts", "put", "new.csv", "--name", "../x")).message
    assert names_in(here) == {"new.csv"}


async def test_what_is_held_is_not_deleted_until_it_is_released(here: Path, terminal: Terminal) -> None:
    (here / "new.csv").write_bytes(CSV)
    await terminal.prints("artifacts", "put", "new.csv")

    await terminal.prints("artifacts", "hold", DIGEST, "--reason", "case 7")
    refused = await terminal.fails("artifacts", "delete", DIGEST)
    told = await terminal.prints("artifacts", "info", DIGEST)
    await terminal.prints("artifacts", "release", DIGEST)
    await terminal.prints("artifacts", "delete", DIGEST)

    assert "UNDER_LEGAL_HOLD" in refused.message
    assert "case 7" in told
    assert "ARTIFACT_NOT_FOUND" in (await terminal.fails("artifacts", "info", DIGEST)).message


async def test_what_the_guide_shows_works_in_its_order(api: Api, here: Path, terminal: Terminal) -> None:
    (here / "sales.csv").write_bytes(b"region,amount\nnorth,10\nsouth,20\n")
    done = []

    shown = [block.text for block in blocks_of("bash") if block.page.name == "keep-artifacts.md"]
    for call in (call for text in shown for call in calls(text)):
        if call.program == "orchestrate":
            await terminal.prints(*call.arguments)
        elif curl := curl_of(call):
            answer = await api.client.request(curl.method, curl.path)
            assert answer.is_success, (curl, answer.text)
        done.append(call.program)

    assert (done.count("orchestrate"), done.count("curl")) == (7, 2)
