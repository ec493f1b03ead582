"""`orchestrate audit` against the real API behind a socket."""

import json
import re
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from app.errors import Invalid
from app.governance.audit.repository import COLLECTION
from tests.api.harness import Api, api_settings, stores_of
from tests.api.serving import served_api
from tests.api.test_cli_commands import Terminal
from tests.architecture.command_line import calls, curl_of
from tests.architecture.markdown import blocks_of
from tests.architecture.tree import ROOT, modules
from tests.processes import Server

_RECORDED = re.compile(r'(?:record|around|record_soon|if_others)\(\s*(?:[\w.]+,\s*)*"(?P<kind>[a-z_]+\.[a-z_]+)"')


@pytest.fixture
async def api(store: Server, redis_url: str) -> AsyncIterator[Api]:
    async with served_api(api_settings(**stores_of(store, redis_url))) as started:
        yield started


@pytest.fixture
def terminal(api: Api) -> Terminal:
    return Terminal(api)


async def act(api: Api, *numbers: int) -> None:
    for number in numbers:
        limits = {"day": {"tokens": number}}
        assert (await api.client.put("/v1/budgets/tenant/default", json=limits)).status_code == 200


async def test_acts_are_listed_and_the_head_is_an_anchor(api: Api, terminal: Terminal) -> None:
    await act(api, 1, 2)

    rows = (await terminal.prints("audit", "list", "--kind", "budget.put")).splitlines()
    listed = await terminal.json("audit", "list", "--subject", "default", "--limit", "1")
    head = (await terminal.prints("audit", "head")).strip()

    assert rows[0].split() == ["seq", "at", "kind", "actor", "subject"]
    assert [row.split()[0] for row in rows[1:]] == ["2", "1"]
    assert '"tokens": 2' in rows[1]
    assert head == f"2:{listed['items'][0]['hash']}"
    assert (await terminal.json("audit", "head"))["anchor"] == head


async def test_a_whole_trail_verifies_from_the_server_and_from_an_export(
    api: Api, terminal: Terminal, tmp_path: Path
) -> None:
    await act(api, 1, 2, 3)
    head = (await terminal.prints("audit", "head")).strip()
    exported = tmp_path / "trail.jsonl"
    exported.write_text(await terminal.prints("audit", "export"), encoding="utf-8")

    from_server = await terminal.prints("audit", "verify", "--anchor", head)
    from_file = await terminal.json("audit", "verify", str(exported), "--anchor", head)

    # Each export is itself the last entry of what it exports.
    assert from_server.startswith("whole  default: 5 entries, head 5:")
    assert from_file["ok"] is True
    [chain] = from_file["chains"]
    assert (chain["tenant_id"], chain["entries"], chain["broken"]) == ("default", 4, None)


async def test_a_change_in_the_store_fails_the_command_and_names_the_entry(api: Api, terminal: Terminal) -> None:
    await act(api, 1, 2, 3)
    await api.core.database[COLLECTION].update_one({"seq": 2}, {"$set": {"actor": "nobody"}})

    result = await terminal.run("audit", "verify")

    assert result.exit_code == 1
    assert result.stdout == "broken default: at entry 2: it was changed\n"


async def test_only_an_anchor_finds_an_export_whose_end_was_cut_off(
    api: Api, terminal: Terminal, tmp_path: Path
) -> None:
    await act(api, 1, 2, 3)
    anchor = (await terminal.prints("audit", "head")).strip()
    lines = (await terminal.prints("audit", "export")).splitlines()
    cut = tmp_path / "cut.jsonl"
    cut.write_text("\n".join(lines[:2]), encoding="utf-8")

    without = await terminal.run("audit", "verify", str(cut))
    with_it = await terminal.run("audit", "verify", str(cut), "--anchor", anchor)

    assert without.exit_code == 0
    assert with_it.exit_code == 1
    assert "the end is missing: the chain ends at 2, the anchor is 3" in with_it.stdout


async def test_an_end_that_is_cut_off_while_the_server_runs_is_found_by_the_next_act(
    api: Api, terminal: Terminal
) -> None:
    await act(api, 1, 2, 3)
    await api.core.database[COLLECTION].delete_one({"seq": 3})

    result = await terminal.run("audit", "verify")

    assert result.exit_code == 1
    assert result.stdout == "broken default: at entry 3: it was removed: 4 comes after 2\n"


async def test_an_edited_export_is_found_out_line_by_line(api: Api, terminal: Terminal, tmp_path: Path) -> None:
    await act(api, 1, 2, 3)
    lines = (await terminal.prints("audit", "export")).splitlines()
    second = json.dumps({**json.loads(lines[1]), "actor": "nobody"})
    edits = {
        "edited": [lines[0], second, lines[2]],
        "cut": [lines[0], lines[2]],
        "garbled": [lines[0], "{", lines[2]],
        "swapped": [lines[0], lines[2], lines[1]],
        "doubled": [lines[0], lines[0], lines[1], lines[2]],
    }

    for name, edited in edits.items():
        file = tmp_path / name
        file.write_text("\n".join(edited), encoding="utf-8")
        result = await terminal.run("audit", "verify", str(file))
        assert result.exit_code == 1, name
        assert result.stdout.startswith("broken default: at entry 2: "), name


async def test_the_store_itself_is_verified_for_every_tenant(
    api: Api, terminal: Terminal, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    await act(api, 1, 2)
    await api.core.audit.record("other", "a.b", "a-key", {"n": "1"})
    monkeypatch.setenv("MONGO_URI", api.settings.mongo_uri.get_secret_value())
    monkeypatch.setenv("MONGO_DB_NAME", api.settings.mongo_db_name)
    arguments = ("audit", "verify", "--store", "--data-dir", str(tmp_path))

    everything = await terminal.json(*arguments)
    await api.core.database[COLLECTION].delete_one({"tenant_id": "default", "seq": 1})
    damaged = await terminal.run(*arguments)
    other = await terminal.prints(*arguments, "--tenant", "other")

    assert [(chain["tenant_id"], chain["entries"]) for chain in everything["chains"]] == [("default", 2), ("other", 1)]
    assert damaged.exit_code == 1
    assert "broken default: at entry 1: it was removed" in damaged.stdout
    assert other.startswith("whole  other: 1 entries")


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("verify", "--anchor", "7"), "SEQ:HASH"),
        (("verify", "a-file", "--store"), "not both"),
        (("verify", "--store", "--anchor", f"1:{'a' * 64}"), "--tenant"),
        (("verify", "--tenant", "red"), "--store"),
        (("verify", "no/such/file"), "cannot be read"),
    ],
)
async def test_wrong_usage_is_told(terminal: Terminal, arguments: tuple[str, ...], told: str) -> None:
    error = await terminal.fails("audit", *arguments)

    assert isinstance(error, Invalid)
    assert told in error.message


async def test_what_the_guide_shows_works_in_its_order(
    api: Api, terminal: Terminal, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    await act(api, 1, 2)
    monkeypatch.setenv("MONGO_URI", api.settings.mongo_uri.get_secret_value())
    monkeypatch.setenv("MONGO_DB_NAME", api.settings.mongo_db_name)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "trail.jsonl").write_text(await terminal.prints("audit", "export"), encoding="utf-8")
    anchor = (await terminal.prints("audit", "head")).strip()
    done = []

    shown = [
        block.text.replace("$(orchestrate audit head)", "")
        for block in blocks_of("bash")
        if block.page.name == "audit.md"
    ]
    for call in (call for text in shown for call in calls(text)):
        if call.program == "orchestrate":
            await terminal.prints(
                *(argument.replace("$ANCHOR", anchor) for argument in call.arguments if argument != ">")
            )
        elif curl := curl_of(call):
            assert (await api.client.request(curl.method, curl.path)).is_success, curl
        done.append(call.program)

    assert (done.count("orchestrate"), done.count("curl")) == (9, 2)


def test_the_page_tells_of_every_kind_of_act_that_is_recorded() -> None:
    page = (ROOT / "docs/how-to/audit.md").read_text(encoding="utf-8")
    kinds = {kind for path in modules("app") for kind in _RECORDED.findall(path.read_text(encoding="utf-8"))}

    assert {"policy.put", "key.used", "task.cancelled", "legal_hold.placed"} <= kinds
    assert [kind for kind in sorted(kinds) if f"`{kind}`" not in page] == []
