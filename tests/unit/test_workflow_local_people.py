from dataclasses import replace
from pathlib import Path

import pytest

from app.agents.plugins import Plugin
from app.agents.registry import Registry
from app.agents.specs import BUILT_IN
from app.agents.tools.models import SideEffect, ToolSpec
from app.cli.run_people import approval_of
from app.errors import Invalid
from app.setting_mcp import McpServer
from app.workflows.language.loading import load_workflow
from app.workflows.language.parts import FileParts
from app.workflows.local.checking import check_answers, check_effects
from app.workflows.local.history import History, RunStatus
from app.workflows.local.journal import read_journal
from app.workflows.local.people import People, Question
from app.workflows.plan import Plan
from app.workflows.steps.approvals import Approval
from tests.local_run_builders import PARROT, LocalRun

TWO = """
version: 1
name: careful
steps:
  each:
    for_each: "${{ [1] }}"
    steps:
      consent: {approval: {approvers: [ann, bob, eve], quorum: 2}}
outputs: {}
"""
ANN, BOB = Approval(True, "ann"), Approval(True, "bob")


def _plan(text: str) -> Plan:
    registry = Registry([*BUILT_IN, PARROT])
    return load_workflow(text, source="x", resolve=FileParts(Path()), catalogue=registry).plan


def _history(run: LocalRun) -> History:
    return History.of(read_journal(run.folder / "events.jsonl"))


async def test_a_quorum_is_reached_when_as_many_people_have_approved(tmp_path: Path) -> None:
    run = LocalRun(tmp_path, TWO)

    assert await run.start(People({"consent": [ANN]})) is RunStatus.WAITING
    assert (_history(run).steps["each[0].consent"].waits_for or {})["quorum"] == 2
    assert await run.go_on(People({"each.consent": [ANN, BOB]})) is RunStatus.SUCCEEDED
    assert [one["by"] for one in _history(run).approvals] == ["ann", "bob"]


async def test_one_rejection_decides_whoever_else_approved(tmp_path: Path) -> None:
    run = LocalRun(tmp_path, TWO)

    assert await run.start(People({"consent": [ANN, Approval(False, "bob")]})) is RunStatus.FAILED
    assert "not approved by bob" in (_history(run).steps["each[0].consent"].error or {})["message"]


async def test_a_terminal_asks_one_person_after_the_other(tmp_path: Path) -> None:
    run, known = LocalRun(tmp_path, TWO), []

    async def ask(_: Question, answered: object) -> Approval:
        known.append(answered)
        return [ANN, BOB][len(known) - 1]

    assert await run.start(People(ask_approval=ask)) is RunStatus.SUCCEEDED
    assert known == [[], ["ann"]]


@pytest.mark.parametrize(
    ("name", "answers", "message"),
    [
        ("consent", [ANN], "2 people have to approve, and 1 did"),
        ("each[0].consent", [ANN, ANN], "ann can answer once"),
        ("consent", [ANN, Approval(True, "mallory")], "mallory is none of its approvers: ann, bob, eve"),
        ("each.consnt", [ANN, BOB], r"did you mean each\.consent\?"),
    ],
)
def test_answers_that_cannot_decide_are_refused_before_the_run_begins(
    name: str, answers: list[Approval], message: str
) -> None:
    with pytest.raises(Invalid, match=f"--approve {name}".replace("[", r"\[").replace("]", r"\]") + f".*{message}"):
        check_answers(_plan(TWO), {name: answers}, me="root")


@pytest.mark.parametrize("answers", [[ANN, BOB], [Approval(True, "root"), ANN], [Approval(False, "eve")]])
def test_answers_that_decide_are_let_through(answers: list[Approval]) -> None:
    check_answers(_plan(TWO), {"each[0].consent": answers}, me="root")


def test_an_answer_may_say_whose_it_is() -> None:
    assert approval_of("consent", '{"approved": true, "by": "ann"}') == ANN


CALLING = "{version: 1, name: calling, steps: {deep: {steps: {say: {agent: parrot, with: {task: Hello}}}}}}"
MAIL = ToolSpec("mail.send", "Sends a letter.", "tests.local_run_builders:Parrot", SideEffect.EXTERNAL, input_schema={})


def test_an_agent_that_acts_outside_is_refused_before_the_run_begins() -> None:
    acting = replace(PARROT, tools=("mail.send",))
    plugin = Plugin("letters", "1.0", (acting,), (MAIL,))

    with pytest.raises(Invalid, match=r"Parrot \(mail\.send\).*execute it there"):
        check_effects(_plan(CALLING), Registry(plugins=[plugin]), {})


def test_the_tools_of_a_server_count_unless_they_only_read() -> None:
    server = McpServer.model_validate({"url": "http://127.0.0.1:1/mcp", "allow": {"Parrot": ["send", "list"]}})
    registry = Registry([PARROT])

    with pytest.raises(Invalid, match=r"Parrot \(mcp\.post\.list, mcp\.post\.send\)"):
        check_effects(_plan(CALLING), registry, {"post": server})
    check_effects(_plan(CALLING), registry, {"post": server.model_copy(update={"read_only": ("send", "list")})})
