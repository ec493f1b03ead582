import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

import pytest

from app.agents.testing import ScriptedChat
from app.llm.messages import Asked, Completion, Message, OnToken
from app.workflows.local.history import History, RunStatus
from app.workflows.local.journal import read_journal
from app.workflows.local.people import People
from app.workflows.steps.approvals import Approval
from tests.local_run_builders import LocalRun

GROUP = """
version: 1
name: group
steps:
  outer:
    timeout: 100ms
    steps:
      pause: {wait: {for: 1h}}
outputs: {}
"""


def _history(run: LocalRun) -> History:
    return History.of(read_journal(run.folder / "events.jsonl"))


async def test_the_timeout_of_a_group_ends_the_steps_inside_of_it(tmp_path: Path) -> None:
    run = LocalRun(tmp_path, GROUP)

    assert await run.start() is RunStatus.FAILED
    assert (_history(run).steps["outer.pause"].error or {})["type"] == "TIMEOUT"


@pytest.mark.slow
async def test_a_program_that_takes_too_long_is_a_timeout_and_tried_again(tmp_path: Path) -> None:
    text = """
version: 1
name: slow
steps:
  first:
    command: [sh, -c, "test -e begun || { touch begun; sleep 60; }"]
    timeout: 300ms
    retry: {max_attempts: 2, initial: 1ms, on: [timeout]}
"""
    run = LocalRun(tmp_path, text)

    assert await run.start() is RunStatus.SUCCEEDED
    errors = [attempt.error and attempt.error["type"] for attempt in _history(run).steps["first"].attempts]
    assert errors == ["TIMEOUT", None]


async def test_an_event_that_was_given_lets_its_wait_on_and_another_does_not(tmp_path: Path) -> None:
    text = """
version: 1
name: paid
steps:
  payment: {wait: {event: payment.received, key: "order-7"}}
outputs: {amount: "${{ steps.payment.output.data.amount }}"}
"""
    run = LocalRun(tmp_path, text)

    assert await run.start(People(events={"payment.received@order-8": {"amount": 1}})) is RunStatus.WAITING
    assert await run.go_on(People(events={"payment.received@order-7": {"amount": 12}})) is RunStatus.SUCCEEDED
    assert await run.outputs() == {"amount": 12}


async def test_an_approval_that_nobody_answers_in_time_is_decided_as_the_workflow_says(tmp_path: Path) -> None:
    text = """
version: 1
name: expiring
steps:
  consent: {approval: {expires_in: 50ms, on_expiry: approve}}
outputs: {by: "${{ steps.consent.output.by }}"}
"""
    run = LocalRun(tmp_path, text)
    never = People(ask_approval=_nobody_answers)

    assert await run.start(never) is RunStatus.SUCCEEDED
    assert await run.outputs() == {"by": "expiry"}


async def _nobody_answers(*_: object) -> NoReturn:
    await asyncio.Event().wait()
    raise AssertionError("it waits for ever")


async def test_an_artifact_outside_of_the_work_folder_is_refused(tmp_path: Path) -> None:
    text = """
version: 1
name: escaping
steps:
  make:
    transform: {path: ../inputs.json}
    artifacts: {stolen: {file: "${{ steps.make.output.path }}"}}
"""
    run = LocalRun(tmp_path, text)

    assert await run.start() is RunStatus.FAILED
    assert "stolen" in (_history(run).steps["make"].error or {})["message"]


async def test_an_approval_that_expired_while_nobody_was_there_is_decided_by_the_next_resume(tmp_path: Path) -> None:
    text = """
version: 1
name: expired
steps:
  consent: {approval: {expires_in: 50ms, on_expiry: fail}}
"""
    run = LocalRun(tmp_path, text)

    assert await run.start() is RunStatus.WAITING
    # Longer than it takes to expire, whatever the machine does meanwhile.
    await asyncio.sleep(0.06)

    assert await run.go_on() is RunStatus.FAILED
    assert (_history(run).error or {})["type"] == "APPROVAL_EXPIRED"


async def test_what_a_killed_attempt_had_spent_counts_when_the_run_goes_on(tmp_path: Path) -> None:
    text = """
version: 1
name: thinking
budget: {model_calls: 2}
steps:
  think: {agent: ponderer, with: {task: Is it true?}}
"""
    run = LocalRun(tmp_path, text, _Stuck("Yes."))
    work = asyncio.create_task(run.start())
    await run.happened["attempt.spent", "think"].wait()
    # What is on the disk when the process is killed while the second answer is awaited.
    written = (run.folder / "events.jsonl").read_bytes()
    work.cancel()
    await asyncio.gather(work, return_exceptions=True)
    (run.folder / "events.jsonl").write_bytes(written)

    run.chat = ScriptedChat("Yes.", "Yes.")
    status = await run.go_on()

    assert status is RunStatus.FAILED
    history = _history(run)
    assert (history.steps["think"].error or {})["type"] == "BUDGET_EXCEEDED"
    assert history.cost()["model_calls"] == 2


async def test_waiting_for_somebody_is_no_working_time_of_a_budget(tmp_path: Path) -> None:
    text = """
version: 1
name: patient
budget: {wall_clock: 50ms}
steps:
  pause: {wait: {for: 80ms}}
  consent: {needs: [pause], approval: {}}
  tell: {needs: [consent], emit: told}
"""
    run = LocalRun(tmp_path, text)

    assert await run.start() is RunStatus.WAITING
    assert await run.go_on(People({"consent": [Approval(True, "ada")]})) is RunStatus.SUCCEEDED
    assert _history(run).cost()["seconds"] > 0.05


class _Stuck(ScriptedChat):
    """Has no answer but the first."""

    async def complete(
        self,
        role: Asked,
        messages: Sequence[Message],
        *,
        max_tokens: int | None = None,
        on_token: OnToken | None = None,
    ) -> Completion:
        if self.asked:
            await asyncio.Event().wait()
        return await super().complete(role, messages, max_tokens=max_tokens, on_token=on_token)
