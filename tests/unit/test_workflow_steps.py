"""What a step does on a worker, and what becomes of it afterwards."""

import asyncio
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from app.agents.testing import ScriptedChat
from app.artifacts.places import Part, place_of
from app.artifacts.store import ArtifactStore
from app.database.documents import Database
from app.governance.budgets.accounts import Budgets
from app.governance.budgets.models import Unit
from app.jobs.limits import Limit, Limits
from app.jobs.outcomes import Deferred, Outcome
from app.jobs.permits import Permits
from app.jobs.store import JobStore
from app.llm.errors import LlmRateLimited, LlmRejected, LlmUnavailable
from app.metrics.rollups import UNCHARGED
from app.metrics.usage import NOTE
from app.setting_budgets import BudgetLimits, PeriodBudget
from app.workflows.executions.handler import policy_of_step
from app.workflows.executions.spending import accounts_of
from tests.budget_builders import the_ledger
from tests.job_builders import NOON, SECOND, TENANT, FakeClock
from tests.live_builders import MemoryLog
from tests.runner_builders import MakeRunner
from tests.step_builders import EXECUTION_ID, Mailer, StepWorker

ECHO = """
version: 1
name: echoing
steps:
  say: {agent: EchoAgent, with: {text: "${{ inputs.word }}"}}
inputs: {word: {type: string}}
"""
ASKING = """
version: 1
name: asking
steps:
  say:
    agent: Parrot
    with: {task: Say a colour}
    output: {word: {type: string, enum: [red, green]}}
"""
Make = Callable[..., StepWorker]


@pytest.fixture
def a_worker(database: Database, jobs: JobStore, runner_of: MakeRunner, clock: FakeClock, tmp_path: Path) -> Make:
    def make(text: str, *answers: str | Exception, **changes: Any) -> StepWorker:
        return StepWorker(database, jobs, runner_of, clock, tmp_path, text, ScriptedChat(*answers), **changes)

    return make


async def test_an_agents_answer_becomes_the_output_with_what_it_cost(a_worker: Make) -> None:
    worker = a_worker(ASKING, "red")

    step = await worker.do("say", {"with": {"task": "Say a colour"}})

    output = await worker.output("say")
    assert (step["status"], step["end"], step["agent"], step["fault"]) == ("completed", "succeeded", "Parrot", None)
    assert (output["word"], output["raw_output"], output["summary"]) == ("red", "red", "said")
    (attempt,) = step["attempts"]
    assert (attempt["number"], attempt["agent"], attempt["error"]) == (1, "Parrot", None)
    assert attempt["models"] == ["scripted-content"]
    assert (attempt["cost"]["tokens"], attempt["cost"]["model_calls"]) == (15, 1)
    assert len(attempt["prompt_sha256"]) == 64


async def test_an_agent_that_asks_nobody_costs_the_store_nothing_but_its_claim_and_its_end(
    a_worker: Make, database: Database
) -> None:
    worker = a_worker(ECHO)
    await worker.hand_out("say", {"with": {"text": "hello"}})
    before = set(await database.list_collection_names())

    step = await worker.attempt("say")

    assert step["status"] == "completed"
    assert (await worker.output("say"))["raw_output"] == "hello"
    assert set(await database.list_collection_names()) == before
    assert step["attempts"][0]["prompt_sha256"] is None


async def test_only_an_agent_that_asks_a_model_is_heard_of_while_it_works(a_worker: Make) -> None:
    log = MemoryLog()

    await a_worker(ECHO, log=log).do("say", {"with": {"text": "hello"}})
    await a_worker(ASKING.replace("  say:", "  tell:"), "red", log=log).do("tell", {"with": {"task": "Say a colour"}})

    assert [(one["event"], one["task_id"]) for one in log.told] == [("run", "tell"), ("token", "tell"), ("run", "tell")]


async def test_an_answer_that_breaks_the_contract_is_asked_for_again_with_what_was_wrong(
    a_worker: Make, clock: FakeClock
) -> None:
    worker = a_worker(ASKING, "blue", "green")

    refused = await worker.do("say", {"with": {"task": "Say a colour"}})
    clock.advance(2 * SECOND)
    step = await worker.attempt("say")

    assert (refused["status"], refused["output"], refused["attempts"][0]["error"]["type"]) == (
        "queued",
        None,
        "AGENT_OUTPUT_INVALID",
    )
    assert (step["status"], [one["number"] for one in step["attempts"]]) == ("completed", [1, 2])
    assert "word (enum)" in worker.chat.asked[1][1][-1].content


async def test_a_step_fails_with_its_last_error_when_it_was_tried_often_enough(
    a_worker: Make, clock: FakeClock
) -> None:
    worker = a_worker(ASKING, "blue", "pink", "grey")
    await worker.hand_out("say", {"with": {"task": "Say a colour"}})

    for _ in range(3):
        step = await worker.attempt("say")
        clock.advance(120 * SECOND)

    assert (step["status"], step["end"], step["output"], len(step["attempts"])) == ("failed", "failed", None, 3)
    assert step["fault"]["path"] == "say"
    assert step["fault"]["type"] == step["error"]["type"] == "AGENT_OUTPUT_INVALID"


@pytest.mark.parametrize(
    ("error", "pause"),
    [
        (LlmUnavailable("down"), SECOND),
        (LlmRateLimited("slow down", retry_after=timedelta(seconds=7)), 8 * SECOND),
        (LlmRejected("no"), None),
    ],
)
async def test_the_workflow_says_which_errors_are_tried_again_and_when(
    a_worker: Make, error: Exception, pause: timedelta | None
) -> None:
    worker = a_worker(ASKING, error)

    step = await worker.do("say", {"with": {"task": "Say a colour"}})

    if pause is None:
        assert (step["status"], step["end"]) == ("failed", "failed")
    else:
        assert (step["status"], step["not_before"], step["end"]) == ("queued", NOON + pause, None)


async def test_a_retry_that_would_start_after_the_deadline_is_not_made(
    a_worker: Make, jobs: JobStore, clock: FakeClock
) -> None:
    worker = a_worker(ASKING, LlmRateLimited("slow down", retry_after=timedelta(minutes=7)))
    await worker.hand_out("say", {"with": {"task": "Say a colour"}})
    await worker.database["jobs"].update_one({"_id": "say"}, {"$set": {"deadline_at": NOON + timedelta(minutes=5)}})

    step = await worker.attempt("say")

    assert (step["status"], step["end"]) == ("failed", "failed")


async def test_a_step_that_takes_longer_than_its_timeout_is_tried_again(a_worker: Make) -> None:
    text = """
version: 1
name: slow
steps:
  nap: {command: [sleep, "60"], timeout: 100ms, retry: {max_attempts: 2, on: [timeout]}}
"""
    worker = a_worker(text)

    step = await worker.do("nap", {"command": ["sleep", "60"], "env": {}})

    assert (step["status"], step["attempts"][0]["error"]["type"]) == ("queued", "TIMEOUT")


async def test_an_agent_that_crashes_fails_its_step_and_says_only_what_kind_of_error_it_was(a_worker: Make) -> None:
    worker = a_worker(ASKING, ZeroDivisionError("the prompt"))

    step = await worker.do("say", {"with": {"task": "Say a colour"}})

    assert (step["status"], step["fault"]["message"]) == ("failed", "Parrot raised ZeroDivisionError")


async def test_a_stopped_attempt_leaves_what_it_cost_and_is_not_counted(
    a_worker: Make, clock: FakeClock, runner_of: MakeRunner
) -> None:
    worker = a_worker(ASKING, "red")
    await worker.hand_out("say", {"with": {"task": "Say a colour"}})
    asked, never = asyncio.Event(), asyncio.Event()

    async def hang(*_: Any, **__: Any) -> Any:
        asked.set()
        await never.wait()

    worker.chat.complete = hang  # type: ignore[method-assign]
    runner = worker.runner()
    work = asyncio.create_task(runner.run("say", worker="w1"))
    await asked.wait()
    runner.stop_all()
    await work

    step = await worker.document("say")
    (attempt,) = step["attempts"]
    assert (step["status"], attempt["error"]["type"], attempt["charged"]) == ("queued", "CANCELLED", False)
    assert attempt["cost"]["model_calls"] == 1


async def test_a_step_waits_for_its_turn_where_few_may_run_its_agent(
    a_worker: Make, runner_of: MakeRunner, permits: Permits, settled: list[Outcome]
) -> None:
    worker, limits = a_worker(ECHO), Limits({}, {"EchoAgent": 1})
    await worker.hand_out("say", {"with": {"text": "hello"}})
    await permits.acquire(Limit("agent:EchoAgent", 1), token="another", kind="jobs", job_id="another")

    await runner_of(worker.handler(), limits=limits, policy_of=policy_of_step).run("say", worker="w1")

    assert [type(one) for one in settled] == [Deferred]
    assert (await worker.document("say"))["attempts"] == []


async def test_an_effect_of_an_agent_happens_once_however_often_its_step_is_tried(
    a_worker: Make, clock: FakeClock
) -> None:
    text = "version: 1\nname: mailing\nsteps: {send: {agent: Mailer, with: {task: Send it}}}\n"
    worker = a_worker(text, LlmUnavailable("down"), "done")
    Mailer.sent.clear()

    first = await worker.do("send", {"with": {"task": "Send it"}})
    clock.advance(2 * SECOND)
    step = await worker.attempt("send")

    assert (first["status"], step["status"], len(Mailer.sent)) == ("queued", "completed", 1)


async def test_what_an_agent_makes_is_kept_in_a_place_of_its_step(a_worker: Make) -> None:
    text = "version: 1\nname: mailing\nsteps: {send: {agent: Mailer, with: {task: Send it}}}\n"
    worker = a_worker(text, "done")

    step = await worker.do("send", {"with": {"task": "Send it"}})

    ((name, sha256),) = [(one["name"], one["sha256"]) for one in (await worker.output("send"))["artifacts"]]
    place = place_of(TENANT, EXECUTION_ID, Part.OUTPUTS)
    kept = await ArtifactStore(str(worker.folder)).get(place, sha256)
    assert (name, kept, step["artifact_digests"][0]) == ("mail.txt", b"Hello", sha256)


async def test_a_task_in_words_goes_to_the_agent_that_the_router_chooses(a_worker: Make) -> None:
    text = "version: 1\nname: routed\nsteps: {do: {task: Say hello}}\n"
    routed = '{"agent_name": "Parrot", "confidence": 0.9, "reasoning": "It is to be said."}'
    worker = a_worker(text, routed, "hello")

    step = await worker.do("do", {"task": "Say hello"})

    assert (step["agent"], (await worker.output("do"))["word"]) == ("Parrot", "hello")
    assert step["attempts"][0]["cost"]["model_calls"] == 2


async def test_a_router_that_knows_no_agent_fails_its_step(a_worker: Make) -> None:
    text = "version: 1\nname: routed\nsteps: {do: {task: Say hello}}\n"
    worker = a_worker(text, '{"agent_name": "Unknown", "confidence": 0.9, "reasoning": "Nobody can."}')

    step = await worker.do("do", {"task": "Say hello"})

    assert (step["status"], step["fault"]["type"], step["agent"]) == ("failed", "UNKNOWN_TASK_TYPE", "PeerAgent")


BUDGETED = """
version: 1
name: careful
budget: {tokens: 1000}
steps:
  ask: {for_each: "${{ [1, 2, 3] }}", budget: {tokens: 25}, agent: Parrot, with: {task: Say a colour}}
  other: {agent: Parrot, with: {task: Say a colour}}
"""


async def test_the_items_of_a_step_share_its_budget_across_workers(a_worker: Make) -> None:
    one, another = a_worker(BUDGETED, "red"), a_worker(BUDGETED, "green")
    third, free = a_worker(BUDGETED), a_worker(BUDGETED, "blue")
    given = {"with": {"task": "Say a colour"}}

    first, second = await one.do("ask[0]", given), await another.do("ask[1]", given)
    refused, other = await third.do("ask[2]", given), await free.do("other", given)

    assert (first["status"], second["status"], other["status"]) == ("completed", "completed", "completed")
    assert (refused["status"], refused["fault"]["type"]) == ("failed", "BUDGET_EXCEEDED")
    assert refused["fault"]["message"] == (
        "the budget of workflow careful, step ask (25 tokens) is used up: 30 tokens spent; raise it in the workflow, "
        "and fork the execution from this step with `accept_changes`"
    )
    assert refused["attempts"][0]["prompt_sha256"] is None


async def test_a_step_that_finds_the_rest_of_a_budget_reserved_is_put_off_and_not_charged(a_worker: Make) -> None:
    text = BUDGETED.replace("agent: Parrot", "agent: Parrot, retry: {max_attempts: 1, on: [timeout]}", 1)
    worker = a_worker(text)
    (_, account) = accounts_of(TENANT, EXECUTION_ID, worker.plan, "ask[0]")
    ledger = the_ledger(worker.database, clock=worker.clock)
    await ledger.reserve(account, {Unit.TOKENS: 25}, task_id="another")

    step = await worker.do("ask[0]", {"with": {"task": "Say a colour"}})

    assert (step["status"], step["attempt"], step["error"]["type"]) == ("queued", 0, "BUDGET_BUSY")
    assert step["attempts"][0]["charged"] is False


async def test_working_time_that_a_workflow_gave_ends_its_step(a_worker: Make) -> None:
    text = """
version: 1
name: hurried
budget: {wall_clock: 100ms}
steps:
  nap: {command: [sleep, "60"]}
"""
    worker = a_worker(text)

    step = await worker.do("nap", {"command": ["sleep", "60"], "env": {}})

    assert (step["status"], step["fault"]["type"]) == ("failed", "BUDGET_EXCEEDED")


async def test_the_budgets_of_a_tenant_hold_for_steps_too(a_worker: Make) -> None:
    budgets = Budgets(agents={"Parrot": PeriodBudget(day=BudgetLimits(tokens=10))})
    worker, given = a_worker(ASKING, "red", budgets=budgets), {"with": {"task": "Say a colour"}}
    await worker.do("say", given)
    again = a_worker(ASKING.replace("  say:", "  tell:"), budgets=budgets)

    step = await again.do("tell", given)

    assert (step["fault"]["type"], "agent Parrot for a day" in step["fault"]["message"]) == ("BUDGET_EXCEEDED", True)


async def test_what_models_cost_in_all_attempts_is_noted_for_the_tenants_usage(a_worker: Make) -> None:
    worker = a_worker(ASKING, "blue", "red")

    first = await worker.do("say", {"with": {"task": "Say a colour"}})
    worker.clock.advance(3600 * SECOND)
    second = await worker.attempt("say")

    notes = [entry["noted"][NOTE] for entry in second["history"] if "noted" in entry]
    assert (first["status"], second["status"]) == ("queued", "completed")
    assert [(one["agent"], one["tokens"]) for one in notes] == [("Parrot", 15), ("Parrot", 30)]
    assert [one["model_calls"] for one in notes] == [1, 2]
    assert second[UNCHARGED] is True


async def test_a_step_that_asked_no_model_leaves_nothing_to_charge(a_worker: Make) -> None:
    step = await a_worker(ECHO).do("say", {"with": {"text": "hello"}})

    assert step["status"] == "completed"
    assert UNCHARGED not in step
    assert all("noted" not in entry for entry in step["history"])
