import asyncio
import json
from pathlib import Path

import pytest

from app.agents.testing import ScriptedChat
from app.llm.errors import LlmUnavailable
from app.workflows.local.evidence import LARGEST_INLINE
from app.workflows.local.history import History, RunStatus
from app.workflows.local.journal import read_journal
from app.workflows.local.people import People
from app.workflows.local.receipts import verify_evidence
from app.workflows.steps.approvals import Approval
from tests.local_run_builders import LocalRun

ASKING = """
version: 1
name: asking
steps:
  say:
    agent: parrot
    with: {task: Say a colour}
    output: {word: {type: string, enum: [red, green]}}
outputs: {word: "${{ steps.say.output.word }}"}
"""
APPROVED = """
version: 1
name: approved
steps:
  draft: {transform: {text: hello}}
  consent:
    needs: [draft]
    approval: {message: "Publish ${{ steps.draft.output.text }}?", form: {note: {type: string, default: none}}}
  publish:
    needs: [consent]
    emit: published
    with: {note: "${{ steps.consent.output.form.note }}"}
outputs: {note: "${{ steps.publish.output.data.note }}"}
finally:
  tell: {emit: done, with: {ok: "${{ run.succeeded }}"}}
"""
WAITING = """
version: 1
name: waiting
steps:
  slow: {wait: {for: 1h}}
finally:
  tidy: {emit: tidied}
"""


def _history(run: LocalRun) -> History:
    return History.of(read_journal(run.folder / "events.jsonl"))


async def test_an_answer_that_breaks_its_contract_is_asked_for_again_with_what_was_wrong(tmp_path: Path) -> None:
    run = LocalRun(tmp_path, ASKING, ScriptedChat("blue", "green"))

    status = await run.start()

    assert (status, await run.outputs()) == (RunStatus.SUCCEEDED, {"word": "green"})
    _, messages = run.chat.asked[1]
    assert "contract" in messages[-1].content
    first, second = _history(run).steps["say"].attempts
    assert (first.error or {})["type"] == "AGENT_OUTPUT_INVALID"
    assert (second.error, second.cost and second.cost["tokens"]) == (None, 15)
    assert "Say a colour" in (run.folder / "steps/say/prompt.txt").read_text()


async def test_a_provider_that_fails_is_asked_again_and_a_step_without_attempts_left_fails(tmp_path: Path) -> None:
    run = LocalRun(tmp_path, ASKING, ScriptedChat(LlmUnavailable("down"), LlmUnavailable("down"), LlmUnavailable("x")))

    status = await run.start()

    assert status is RunStatus.FAILED
    assert (_history(run).error or {})["type"] == "LLM_ERROR"
    assert [attempt.number for attempt in _history(run).steps["say"].attempts] == [1, 2, 3]


async def test_a_budget_that_is_used_up_ends_the_run(tmp_path: Path) -> None:
    text = ASKING.replace("steps:", "budget: {model_calls: 1}\nsteps:", 1)
    run = LocalRun(tmp_path, text, ScriptedChat("blue", "green"))

    status = await run.start()

    assert (status, len(run.chat.asked)) == (RunStatus.FAILED, 1)
    assert (_history(run).error or {})["type"] == "BUDGET_EXCEEDED"


async def test_an_approval_without_anybody_there_leaves_the_run_to_be_resumed(tmp_path: Path) -> None:
    run = LocalRun(tmp_path, APPROVED)

    assert await run.start() is RunStatus.WAITING
    waits_for = _history(run).steps["consent"].waits_for
    assert await run.go_on(People({"consent": [Approval(True, "ada", form={"note": "fine"})]})) is RunStatus.SUCCEEDED

    assert (waits_for or {})["message"] == "Publish hello?"
    assert await run.outputs() == {"note": "fine"}
    assert [one["by"] for one in _history(run).approvals] == ["ada"]
    assert [len(step.attempts) for step in _history(run).steps.values()] == [1, 1, 1, 1]


async def test_a_rejection_blocks_what_needs_it_and_finally_still_runs(tmp_path: Path) -> None:
    run = LocalRun(tmp_path, APPROVED)

    status = await run.start(People({"consent": [Approval(False, "ada", "no")]}))

    steps = _history(run).steps
    assert (status, (_history(run).error or {})["type"]) == (RunStatus.FAILED, "APPROVAL_REJECTED")
    assert (steps["publish"].end, steps["finally.tell"].end) == ("blocked", "succeeded")


async def test_a_run_that_is_cancelled_stops_what_works_and_tidies_up(tmp_path: Path) -> None:
    run = LocalRun(tmp_path, WAITING)
    work = asyncio.create_task(run.start())
    await run.happened["attempt.started", "slow"].wait()

    (run.folder / "cancel").touch()

    assert await asyncio.wait_for(work, 10) is RunStatus.CANCELLED
    assert _history(run).steps["finally.tidy"].end == "succeeded"


async def test_a_run_that_was_interrupted_goes_on_and_repeats_nothing_that_ended(tmp_path: Path) -> None:
    text = WAITING.replace("steps:\n", "steps:\n  first: {transform: {number: 1}}\n").replace("1h", "300ms")
    run = LocalRun(tmp_path, text.replace("slow: {wait", "slow: {needs: [first], wait"))
    work = asyncio.create_task(run.start())
    await run.happened["attempt.started", "slow"].wait()
    work.cancel()
    with pytest.raises(asyncio.CancelledError):
        await work

    assert _history(run).status is RunStatus.INTERRUPTED
    assert await run.go_on() is RunStatus.SUCCEEDED
    assert len(_history(run).steps["first"].attempts) == 1


async def test_a_fork_takes_over_what_comes_before_its_step(tmp_path: Path) -> None:
    shout = "  shout: {needs: [say], transform: {word: '${{ steps.say.output.word }}!'}}"
    text = ASKING.replace("outputs:", f"{shout}\noutputs:")
    run = LocalRun(tmp_path, text, ScriptedChat("red"))
    await run.start()

    forked = await run.fork("shout")
    status = await forked.go_on()

    assert (status, len(run.chat.asked)) == (RunStatus.SUCCEEDED, 1)
    assert _history(forked).steps["say"].reused_from == run.folder.name


@pytest.mark.slow
async def test_a_command_that_fails_says_how_and_its_output_is_kept_where_that_is_tolerated(tmp_path: Path) -> None:
    text = """
version: 1
name: checking
steps:
  check:
    command: [sh, -c, "echo broken >&2; exit 3"]
    on_error: continue
outputs:
  said: "${{ steps.check.output.stderr }}"
  why: "${{ steps.check.error.message }}"
"""
    run = LocalRun(tmp_path, text)

    assert await run.start() is RunStatus.SUCCEEDED
    assert await run.outputs() == {"said": "broken\n", "why": "sh ended with exit code 3"}


async def test_evidence_of_a_run_is_proven_and_any_change_is_found(tmp_path: Path) -> None:
    text = ASKING.replace("enum: [red, green]", f"min_length: {LARGEST_INLINE}").replace(
        "outputs:", '    artifacts: {kept: "${{ steps.say.output.word }}"}\noutputs:'
    )
    run = LocalRun(tmp_path, text, ScriptedChat("x" * (LARGEST_INLINE + 1)))
    await run.start()
    assert (await verify_evidence(run.folder)).ok

    receipt = run.folder / "receipt.json"
    changed = json.loads(receipt.read_text())
    changed["cost"]["usd"] = 0.5
    receipt.write_text(json.dumps(changed))
    blob = next(path for path in (run.folder / "artifacts").rglob("*") if path.is_file())
    blob.write_bytes(b"something else")

    problems = (await verify_evidence(run.folder)).problems
    assert any("receipt.json" in problem for problem in problems)
    assert any("does not have the content" in problem for problem in problems)


async def test_a_definition_that_is_not_the_one_that_ran_is_found(tmp_path: Path) -> None:
    run = LocalRun(tmp_path, ASKING, ScriptedChat("red"))
    await run.start()
    kept = run.folder / "definition.json"
    definition = json.loads(kept.read_text())
    definition["document"]["steps"]["say"]["with"]["task"] = "Say nothing"
    kept.write_text(json.dumps(definition))

    (problem,) = (await verify_evidence(run.folder)).problems

    assert problem.startswith("definition.json is not what ran: its digest is sha256:")


async def test_each_definition_that_a_run_went_on_with_is_kept_and_proven(tmp_path: Path) -> None:
    run = LocalRun(tmp_path, APPROVED)
    await run.start()
    run.text = run.text.replace("emit: published", "emit: released")
    await run.go_on(People({"consent": [Approval(True, "ada")]}))
    assert (await verify_evidence(run.folder)).ok

    (later,) = run.folder.glob("definition-*.json")
    later.unlink()

    assert (await verify_evidence(run.folder)).problems == (f"{later.name} is not there any more, or is no JSON",)


async def test_secrets_of_the_configuration_are_not_in_the_prompts_that_are_kept(tmp_path: Path) -> None:
    run = LocalRun(tmp_path, ASKING.replace("Say a colour", "key-of-the-model"), ScriptedChat("red"))

    await run.start()

    assert "key-of-the-model" not in (run.folder / "steps/say/prompt.txt").read_text()


async def test_an_evaluation_has_the_step_try_again_with_what_was_wrong(tmp_path: Path) -> None:
    text = ASKING.replace("    output: {word: {type: string, enum: [red, green]}}\n", "").replace(
        'outputs: {word: "${{ steps.say.output.word }}"}',
        """
  judge:
    needs: [say]
    evaluate: {step: say, checks: [{type: length, min_words: 2}], on_fail: retry, max_rounds: 2}
outputs: {word: "${{ steps.judge.output.output.word }}", rounds: "${{ steps.judge.output.rounds }}"}""",
    )
    run = LocalRun(tmp_path, text, ScriptedChat("red", "dark red"))

    assert await run.start() is RunStatus.SUCCEEDED
    assert await run.outputs() == {"word": "dark red", "rounds": 2}


async def test_the_steps_of_a_wide_fan_out_run_no_more_than_allowed_at_the_same_time(tmp_path: Path) -> None:
    text = """
version: 1
name: wide
steps:
  each:
    for_each: "${{ [1, 2, 3, 4, 5, 6].map(one, one * 2) }}"
    as: number
    max_parallel: 2
    wait: {for: 20ms}
outputs: {number: "${{ size(steps.each.output) }}"}
"""
    run, at_once, most = LocalRun(tmp_path, text), 0, 0

    await run.start()

    for event in read_journal(run.folder / "events.jsonl"):
        at_once += {"attempt.started": 1, "step.ended": -1}.get(event["event"], 0)
        most = max(most, at_once)
    assert (most, await run.outputs()) == (2, {"number": 6})
