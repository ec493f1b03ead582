"""`orchestrate policy`, with what the guide shows in its order, against files and the real API behind a socket."""

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from app.cli.main import app
from app.governance.policy.cases import load_cases
from app.governance.policy.facts import FACTS
from app.governance.policy.loading import PolicyInvalid, load_policy
from app.governance.policy.models import FactKind
from tests.api.harness import Api, api_settings, stores_of
from tests.api.serving import served_api
from tests.api.test_cli_commands import Terminal
from tests.architecture.command_line import calls, curl_of
from tests.architecture.markdown import Block, blocks_of
from tests.processes import Server

POLICY = "version: 1\nrules:\n  - {name: no-shell, applies_to: [tool], when: 'tool.name == \"shell\"', decide: deny}\n"
CASES = """version: 1
cases:
  - {name: shells, applies_to: tool, facts: {tool: {name: shell}}, expect: deny, rule: no-shell}
  - {name: others, applies_to: tool, facts: {tool: {name: mail}}, expect: require_approval}
"""
JSON_BODY = {"content-type": "application/json"}


def guide(language: str) -> list[Block]:
    return [block for block in blocks_of(language) if block.page.name == "write-policies.md"]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """With the files of the guide, and commands run in it."""
    policy, cases = guide("yaml")
    (tmp_path / "policy.yaml").write_text(policy.text, "utf-8")
    (tmp_path / "policy-tests.yaml").write_text(cases.text, "utf-8")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
async def api(store: Server, redis_url: str) -> AsyncIterator[Api]:
    async with served_api(api_settings(**stores_of(store, redis_url))) as started:
        yield started


@pytest.fixture
def terminal(api: Api) -> Terminal:
    return Terminal(api)


def run(*arguments: str) -> Result:
    return CliRunner().invoke(app, arguments, env={"COLUMNS": "200"})


def test_the_policy_and_the_tests_of_the_guide_are_right(folder: Path) -> None:
    assert run("policy", "validate", "policy.yaml").stdout.startswith("policy.yaml is valid: sha256:")

    tested = run("policy", "test", "policy-tests.yaml")

    assert (tested.exit_code, tested.stdout) == (0, "4 of 4 tests passed\n")


def test_the_guide_names_every_fact() -> None:
    page = guide("yaml")[0].page.read_text("utf-8")
    rows = [row.split("|")[1:5] for row in page.splitlines() if row.startswith("| `") and row.count("|") == 5]

    told = [tuple(cell.strip() for cell in row) for row in rows if "." in row[0]]

    kinds = [FactKind.TASK, FactKind.STEP, FactKind.TOOL]
    assert told == [
        (f"`{name}`", fact.type, ", ".join(kind for kind in kinds if kind in fact.kinds), fact.told)
        for name, fact in FACTS.items()
    ]


def test_a_policy_with_errors_is_told_with_places_and_an_exit_code(tmp_path: Path) -> None:
    path = tmp_path / "policy.yaml"
    path.write_text(POLICY.replace("tool.name", "tool.nam"), "utf-8")

    told, as_json = run("policy", "validate", str(path)), run("policy", "validate", str(path), "--json")

    assert (told.exit_code, as_json.exit_code) == (2, 2)
    assert "policy.yaml:3:42: rules[0].when: there is no fact `tool.nam`: did you mean `tool.name`?" in told.stderr
    assert json.loads(as_json.stdout)["problems"][0]["line"] == 3


def test_tests_show_what_is_decided_otherwise(tmp_path: Path) -> None:
    (tmp_path / "policy.yaml").write_text(POLICY, "utf-8")
    (tmp_path / "cases.yaml").write_text(CASES, "utf-8")

    tested = run("policy", "test", str(tmp_path / "cases.yaml"))
    as_json = run("policy", "test", str(tmp_path / "cases.yaml"), "--json")

    assert (tested.exit_code, as_json.exit_code) == (1, 1)
    assert [line.strip() for line in tested.stdout.splitlines()[1:]] == [
        "- expected require_approval",
        "+ decided  allow by default: no rule applies, and the default is allow",
        "1 of 2 tests passed",
    ]
    (failed,) = json.loads(as_json.stdout)["failed"]
    assert (failed["name"], failed["decided"]["effect"]) == ("others", "allow")


def test_tests_can_be_held_against_another_policy(tmp_path: Path) -> None:
    (tmp_path / "other.yaml").write_text(f"default: require_approval\n{POLICY}", "utf-8")
    (tmp_path / "cases.yaml").write_text(CASES, "utf-8")

    tested = run("policy", "test", str(tmp_path / "cases.yaml"), "--policy", str(tmp_path / "other.yaml"))

    assert (tested.exit_code, tested.stdout) == (0, "2 of 2 tests passed\n")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "tests are a mapping"),
        ("version: 1\ncases: []", "cases"),
        (CASES.replace("expect: deny", "expect: forbid"), "it must be 'allow'"),
        (CASES.replace("tool: {name: mail}", "tool: {nam: mail}"), "4:"),
        (CASES.replace("name: mail", "name: 5"), "it is no text"),
        ("[" * 30 + "]" * 30, "nested too deeply"),
    ],
)
def test_tests_with_errors_are_refused_with_places(text: str, reason: str) -> None:
    with pytest.raises(PolicyInvalid) as refused:
        load_cases(text, source="cases.yaml")

    assert reason in refused.value.message


async def test_a_policy_is_put_shown_and_removed(terminal: Terminal, tmp_path: Path) -> None:
    path = tmp_path / "policy.yaml"
    path.write_text(POLICY, "utf-8")
    digest = load_policy(POLICY).digest

    put = await terminal.prints("policy", "put", str(path))
    shown = await terminal.prints("policy", "show")
    source = await terminal.prints("policy", "show", "--source", "--version", digest)
    refused = await terminal.fails("policy", "put", str(path), "--expect", "sha256:another")
    versions = await terminal.prints("policy", "versions")
    removed = await terminal.prints("policy", "delete")

    assert put == f"the policy is stored: {digest}\n"
    assert shown.startswith(f"{digest} stored since ")
    assert source == POLICY
    assert "another version" in refused.message
    assert f"{digest} " in versions.splitlines()[1]
    assert "current" in versions.splitlines()[1]
    assert removed == "the policy is removed\n"
    assert "everything is allowed" in (await terminal.fails("policy", "show")).message


async def test_what_the_guide_shows_works_in_its_order(api: Api, terminal: Terminal, folder: Path) -> None:
    task_id = await api.submit("Write a short post about the sea.")
    await api.core.tasks.update_one({"_id": task_id}, {"$set": {"selected_agent": "ContentAgent"}})
    said: dict[str, Any] = {}
    for call in (call for block in guide("bash") for call in calls(block.text)):
        if call.program == "curl" and (curl := curl_of(call)):
            response = await api.client.request(curl.method, curl.path, content=curl.body, headers=JSON_BODY)
            assert response.is_success, (curl, response.text)
            said[curl.path] = response.json()
        elif call.arguments[:2] in (("policy", "validate"), ("policy", "test")) or call.arguments[0] == "up":
            continue
        else:
            said["steps" if "--steps" in call.arguments else call.arguments[1]] = await terminal.prints(*call.arguments)

    assert said["dry-run"].endswith("0 of 1 tasks would have been decided otherwise\n")
    assert said["steps"] == "0 of 0 steps would have been decided otherwise\n"
    assert (said["/v1/policies/dry-run"]["after"], said["/v1/policies/decide"]["rule"]) == ({"deny": 1}, "no-shells")
    assert said["delete"] == "the policy is removed\n"
