"""What each kind of step does on a worker: evaluations, programs, waits and approvals."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from app.agents.testing import ScriptedChat
from app.artifacts.places import Part, place_of
from app.artifacts.store import ArtifactStore
from app.database.documents import Database
from app.jobs.store import JobStore
from app.workflows.executions.handler import MOST_OFFERS
from tests.job_builders import NOON, SECOND, TENANT, FakeClock
from tests.runner_builders import MakeRunner
from tests.step_builders import EXECUTION_ID, StepWorker

WAITING = """
version: 1
name: waiting
steps:
  sleep: {wait: {for: 1h}}
  paid: {wait: {event: invoice.paid, timeout: 1h}}
  ok: {approval: {message: Really?, expires_in: 1h, on_expiry: %s}}
"""
Make = Callable[..., StepWorker]


@pytest.fixture
def a_worker(database: Database, jobs: JobStore, runner_of: MakeRunner, clock: FakeClock, tmp_path: Path) -> Make:
    def make(text: str, *answers: str | Exception, **changes: Any) -> StepWorker:
        return StepWorker(database, jobs, runner_of, clock, tmp_path, text, ScriptedChat(*answers), **changes)

    return make


JUDGING = """
version: 1
name: judging
steps:
  say: {agent: Parrot, with: {task: Say a colour}}
  judge: {needs: [say], evaluate: {step: say, checks: [{type: length, min_words: 2}], on_fail: %s}}
"""
SUBJECT = {"task": "Say a colour", "output": {"raw_output": "red"}, "again": {"agent": "Parrot", "with": {"task": "x"}}}


async def test_an_evaluation_has_the_step_try_again_with_what_was_wrong(a_worker: Make) -> None:
    worker = a_worker(JUDGING % "retry", "dark red")

    step = await worker.do("judge", {"evaluate": SUBJECT})

    output = await worker.output("judge")
    assert (step["status"], output["passed"], output["rounds"], output["output"]["word"]) == (
        "completed",
        True,
        2,
        "dark red",
    )


async def test_an_evaluation_that_fails_keeps_its_verdict_as_output(a_worker: Make) -> None:
    worker = a_worker(JUDGING % "fail")

    step = await worker.do("judge", {"evaluate": SUBJECT})

    output = await worker.output("judge")
    assert (step["status"], step["fault"]["type"], output["passed"]) == ("failed", "EVALUATION_FAILED", False)


def a_command(*lines: str, **more: Any) -> dict[str, Any]:
    return {"command": [sys.executable, "-c", "; ".join(lines)], "env": {}, **more}


COMMAND = """
version: 1
name: running
steps:
  run:
    command: [python]
    secrets: [API_KEY]
    artifacts: {report: {file: report.txt}}
"""


@pytest.mark.slow
async def test_a_program_gets_its_input_and_its_secrets_and_leaves_files_as_artifacts(a_worker: Make) -> None:
    worker = a_worker(COMMAND, environment={"API_KEY": "s3cret-value", "PATH": "/usr/bin"})
    given = a_command(
        "import os, sys, json",
        "print(json.load(sys.stdin)['n'], os.environ['API_KEY'], os.environ['MORE'])",
        "open('report.txt', 'w').write('done')",
        **{"with": {"n": 3}, "files": {"report": "report.txt"}},
    )

    step = await worker.do("run", {**given, "env": {"MORE": "yes"}})

    assert (await worker.output("run"))["stdout"] == "3 *** yes\n"
    kept = step["artifacts"]["report"]
    assert (kept["size"], kept["media_type"]) == (4, "text/plain")
    place = place_of(TENANT, EXECUTION_ID, Part.OUTPUTS)
    assert await ArtifactStore(str(worker.folder)).get(place, kept["sha256"]) == b"done"


@pytest.mark.slow
async def test_a_program_that_fails_keeps_what_it_said(a_worker: Make) -> None:
    worker = a_worker(COMMAND, environment={"API_KEY": "s3cret-value"})

    step = await worker.do("run", a_command("import sys", "print('half')", "sys.exit(3)"))

    output = await worker.output("run")
    assert (step["status"], step["fault"]["type"]) == ("failed", "COMMAND_FAILED")
    assert (output["exit_code"], output["stdout"]) == (3, "half\n")


async def test_a_secret_that_the_worker_does_not_have_fails_the_step_and_is_named(a_worker: Make) -> None:
    worker = a_worker(COMMAND, environment={})

    step = await worker.do("run", a_command("pass"))

    assert (step["status"], "API_KEY" in step["fault"]["message"]) == ("failed", True)


async def test_a_program_is_offered_to_other_workers_where_none_may_run_until_nobody_wants_it(
    a_worker: Make, clock: FakeClock
) -> None:
    worker = a_worker(COMMAND, allow_commands=False)
    await worker.hand_out("run", a_command("pass"))

    offered = await worker.attempt("run")
    for _ in range(MOST_OFFERS):
        clock.advance(SECOND)
        step = await worker.attempt("run")

    assert (offered["status"], offered["attempt"], offered["not_before"]) == ("queued", 0, NOON + SECOND)
    assert (step["status"], step["fault"]["type"]) == ("failed", "COMMANDS_NOT_ALLOWED")
    assert "WORKER_ALLOW_COMMANDS" in step["fault"]["message"]


async def test_a_wait_that_is_over_says_until_when_it_was(a_worker: Make) -> None:
    worker = a_worker(WAITING % "fail")

    await worker.do("sleep", {"wait": {"until": "2026-11-21T13:00:00Z"}})

    assert await worker.output("sleep") == {"waited_until": "2026-11-21T13:00:00Z"}


async def test_an_event_that_never_came_fails_its_step(a_worker: Make) -> None:
    worker = a_worker(WAITING % "fail")

    step = await worker.do("paid", {"wait": {"event": "invoice.paid", "key": None}})

    assert (step["status"], step["fault"]["type"]) == ("failed", "TIMEOUT")
    assert step["fault"]["message"] == "no event invoice.paid came in time"


@pytest.mark.parametrize(
    ("on_expiry", "status", "fault", "approved"),
    [
        ("approve", "completed", None, True),
        ("reject", "failed", "APPROVAL_REJECTED", False),
        ("fail", "failed", "APPROVAL_EXPIRED", None),
    ],
)
async def test_an_approval_that_nobody_gave_in_time_ends_as_its_step_says(
    a_worker: Make, on_expiry: str, status: str, fault: str | None, *, approved: bool | None
) -> None:
    worker = a_worker(WAITING % on_expiry)

    step = await worker.do("ok", {})

    output = await worker.output("ok")
    assert (step["status"], (step["fault"] or {}).get("type")) == (status, fault)
    assert (output and output["approved"]) == approved
