"""What a policy lets a run on one's own machine do, seen from its journal."""

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from app.errors import Invalid
from app.workflows.local.checking import check_answers
from app.workflows.local.history import History, RunStatus
from app.workflows.local.journal import read_journal
from app.workflows.local.people import People
from app.workflows.local.receipts import verify_evidence
from app.workflows.local.reporting import report_of
from app.workflows.steps.approvals import Approval
from tests.fakes.agents import FixedSearch, a_source
from tests.job_builders import FakeClock
from tests.local_run_builders import LocalRun

COMMANDS = """
version: 1
name: build
inputs: {word: {type: string, default: one}}
steps:
  plan: {transform: {word: "${{ inputs.word }}"}}
  make: {needs: [plan], command: [echo, "${{ inputs.word }}"]}
  ship: {needs: [make], command: [echo, shipped]}
outputs: {said: "${{ steps.ship.output.stdout }}"}
"""
SEEKING = """
version: 1
name: seeking
steps:
  seek: {agent: Seeker, with: {task: "tides"}}
outputs: {text: "${{ steps.seek.output.text }}"}
"""
NO_TWO = """
version: 1
rules:
  - name: no-two
    applies_to: [step]
    when: step.kind == "command" && step.input.command.exists(word, word == "two")
    decide: deny
    reason: nobody says two
"""
ASKED = """
version: 1
rules:
  - {name: shipping, applies_to: [step], when: step.path == "ship", decide: require_approval, approval: %s}
"""
SEARCHES = """
version: 1
rules:
  - {name: searching, applies_to: [tool], when: tool.name == "web_search", decide: %s}
"""
YES, NO = Approval(True, "me"), Approval(False, "me")


def _history(run: LocalRun) -> History:
    return History.of(read_journal(run.folder / "events.jsonl"))


def _decisions(run: LocalRun) -> list[tuple[str, str, str | None]]:
    events = read_journal(run.folder / "events.jsonl")
    return [(one["question"], one["effect"], one["rule"]) for one in events if one["event"] == "policy.decided"]


async def _outputs(run: LocalRun) -> Any:
    return await run.outputs()


async def test_a_denied_step_fails_before_its_work_and_steps_that_only_compute_are_not_asked_about(
    tmp_path: Path,
) -> None:
    run = LocalRun(tmp_path, COMMANDS, policy=NO_TWO)

    assert await run.start(word="two") is RunStatus.FAILED
    denied = _history(run).steps["make"]
    assert (denied.error or {})["type"] == "POLICY_DENIED"
    assert "nobody says two" in (denied.error or {})["message"]
    assert not (run.folder / "steps" / "make" / "stdout").exists()
    assert _decisions(run) == [("make", "deny", "no-two")]
    assert await run.start(word="one") is RunStatus.SUCCEEDED
    assert _decisions(run) == [("make", "allow", None), ("ship", "allow", None)]


async def test_a_step_waits_for_people_and_goes_on_with_their_answer(tmp_path: Path) -> None:
    run = LocalRun(tmp_path, COMMANDS, policy=ASKED % "{message: ship it?, approvers: [ann, bob], quorum: 2}")
    ann, bob, eve = (Approval(True, name) for name in ("ann", "bob", "eve"))

    assert await run.start() is RunStatus.WAITING
    waits = _history(run).steps["ship"].waits_for or {}
    assert waits["answer"] == "ship"
    assert waits["message"].startswith("ship it?. step ship begins")
    assert await run.go_on(People({"ship": [ann, eve]})) is RunStatus.WAITING
    assert "eve is none of its approvers" in (_history(run).steps["ship"].waits_for or {})["message"]
    assert await run.go_on(People({"ship": [ann, bob]})) is RunStatus.SUCCEEDED

    history = _history(run)
    assert [(one["path"], one["by"], one["rule"]) for one in history.approvals] == [
        ("ship", "ann", "shipping"),
        ("ship", "bob", "shipping"),
    ]
    assert (history.steps["ship"].policy or {})["rule"] == "shipping"
    assert "shipping" in str(report_of(history, inputs={}, outputs=await _outputs(run)))
    assert (await verify_evidence(run.folder)).ok


async def test_a_rejection_fails_the_step_and_what_nobody_answers_in_time_comes_to_its_default(tmp_path: Path) -> None:
    clock = FakeClock()
    rejected = LocalRun(tmp_path, COMMANDS, policy=ASKED % "{}")
    let_go = LocalRun(tmp_path, COMMANDS, policy=ASKED % "{expires_in: 1h, on_expiry: approve}", clock=clock)

    assert await rejected.start(People({"ship": [NO]})) is RunStatus.FAILED
    assert (_history(rejected).steps["ship"].error or {})["type"] == "APPROVAL_REJECTED"
    assert await let_go.start() is RunStatus.WAITING
    clock.advance(timedelta(hours=2))
    assert await let_go.go_on() is RunStatus.SUCCEEDED
    assert [one["by"] for one in _history(let_go).approvals] == ["expiry"]


async def test_a_denied_call_is_not_made_and_the_agent_is_told(tmp_path: Path) -> None:
    search = FixedSearch([a_source(1)])
    run = LocalRun(tmp_path, SEEKING, policy=SEARCHES % "deny", search=search)

    assert await run.start() is RunStatus.SUCCEEDED
    assert await run.outputs() == {"text": "PolicyDenied"}
    assert search.asked == []


async def test_a_call_that_people_have_to_approve_ends_the_attempt_whatever_the_agent_makes_of_it(
    tmp_path: Path,
) -> None:
    search = FixedSearch([a_source(1)])
    run = LocalRun(tmp_path, SEEKING, policy=SEARCHES % "require_approval", search=search)

    assert await run.start() is RunStatus.WAITING
    (question,) = _history(run).waiting_answers()
    assert question.startswith("seek@web_search:")
    assert search.asked == []
    assert await run.go_on(People({"seek@web_search:0123456789ab": [YES]})) is RunStatus.WAITING
    assert await run.go_on(People({question: [YES]})) is RunStatus.SUCCEEDED
    assert search.asked == ["tides"]
    assert len(_history(run).steps["seek"].attempts) == 3


async def test_what_was_approved_is_not_asked_again_after_an_interruption(tmp_path: Path) -> None:
    text = COMMANDS.replace("[echo, shipped]", "[sh, -c, 'test -e again || { touch again; exit 1; }; echo shipped']")
    text = text.replace("needs: [make], ", "needs: [make], retry: {max_attempts: 2, on: [any], initial: 1ms}, ")
    run = LocalRun(tmp_path, text, policy=ASKED % "{}")

    assert await run.start(People({"ship": [YES]})) is RunStatus.SUCCEEDED
    assert len(_history(run).steps["ship"].attempts) == 2
    assert len(_history(run).approvals) == 1


async def test_scores_are_taken_where_the_policy_wants_them_and_kept_with_the_decision(tmp_path: Path) -> None:
    policy = """
version: 1
rules:
  - {name: risky, applies_to: [step], when: scores.risk >= 0.0, decide: require_approval}
auto_approve: {risk_below: 1.0}
"""
    run = LocalRun(tmp_path, COMMANDS, policy=policy)

    assert await run.start() is RunStatus.SUCCEEDED
    noted = next(one for one in read_journal(run.folder / "events.jsonl") if one["event"] == "policy.decided")
    assert "approved automatically" in noted["reasons"][-1]
    assert 0 <= noted["scores"]["scores"]["risk"]["value"] <= 1


def test_answers_to_steps_are_taken_of_governed_runs_only(tmp_path: Path) -> None:
    plan = LocalRun(tmp_path, COMMANDS).definition.plan

    check_answers(plan, {"ship": [YES], "make@web_search:0123456789ab": [YES]}, me="me", is_governed=True)
    with pytest.raises(Invalid, match="approvals here are none"):
        check_answers(plan, {"ship": [YES]}, me="me")
    with pytest.raises(Invalid, match="--approve shop"):
        check_answers(plan, {"shop": [YES]}, me="me", is_governed=True)
