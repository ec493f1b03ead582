"""What a task tells its next attempt: the policy in force, and why its last answer was refused."""

from datetime import timedelta
from typing import Any

import pytest

from app.agents.base import AgentRequest
from app.agents.registry import Registry
from app.jobs.models import JobError, Reason, Status
from app.jobs.outcomes import Finished, Outcome, RetryAt
from app.jobs.retry import Backoff, RetryPolicy, RetryWish
from app.jobs.runner import Attempt
from app.jobs.store import JobStore
from app.tasks.models import Caller, Submission, new_task
from app.tasks.retry_policy import RetryPolicies, policy_fields, read_policy, read_wish, wish_as_json
from app.tasks.runs import feedback_on
from tests.job_builders import NOON, SECOND, FakeClock, a_job, a_new_job
from tests.runner_builders import MakeRunner, ProviderDown

DEFAULT = RetryPolicy(3, Backoff(initial=SECOND, maximum=60 * SECOND), max_total=3600 * SECOND)
POLICIES = RetryPolicies(DEFAULT, Registry())
REFUSAL = "the model's answer has no complete code block"


def a_run(agent: str = "CodeAgent", *, error: str | None = "AGENT_OUTPUT_INVALID", at: int = 0) -> dict[str, Any]:
    return {
        "agent_name": agent,
        "status": "failed" if error else "completed",
        "error": {"type": error, "message": REFUSAL} if error else None,
        "started_at": NOON + at * SECOND,
    }


def a_task(*runs: dict[str, Any]) -> dict[str, Any]:
    return {"queued_at": NOON, "agent_runs": list(runs)}


@pytest.mark.parametrize(
    ("runs", "told"),
    [
        ([], None),
        ([a_run()], REFUSAL),
        ([a_run("PeerAgent")], None),
        ([a_run(error="LLM_ERROR")], None),
        ([a_run(), a_run(error="LLM_ERROR", at=1)], REFUSAL),
        ([a_run(), a_run(error=None, at=1)], None),
        ([a_run(at=-1)], None),
    ],
    ids=["nothing", "refused", "another's", "no answer", "refused, then no answer", "mended since", "last series"],
)
def test_an_agent_is_told_why_its_own_last_answer_of_this_series_was_refused(
    runs: list[dict[str, Any]], told: str | None
) -> None:
    assert feedback_on(a_task(*runs), "CodeAgent") == told


def test_a_correction_is_one_message_at_the_end_and_none_without_a_refusal() -> None:
    first = AgentRequest("t", "s", "acme", "x")
    second = AgentRequest("t", "s", "acme", "x", feedback=REFUSAL)

    assert first.corrections == ()
    (message,) = second.corrections
    assert message.role == "user"
    assert message.content == f"Your previous answer was refused: {REFUSAL}. Answer again and correct that."


def test_a_policy_and_a_wish_survive_being_stored() -> None:
    wish = RetryWish(max_attempts=2, max_total=timedelta(minutes=1))
    unlimited = RetryPolicy(4, Backoff(initial=SECOND / 2, maximum=9 * SECOND))

    assert read_policy(policy_fields(DEFAULT)["retry"]) == DEFAULT
    assert read_policy(policy_fields(unlimited)["retry"]) == unlimited
    assert read_wish(wish_as_json(wish)) == wish
    assert read_wish(wish_as_json(None)) is None


def test_a_task_of_an_older_version_has_the_deployments_policy_and_its_own_attempts() -> None:
    assert POLICIES.of_job(a_job(max_attempts=5)) == RetryPolicy(5, DEFAULT.backoff, DEFAULT.max_total)


def test_a_submission_without_a_policy_has_the_digest_it_had_before_there_were_any() -> None:
    assert "retry" not in Submission("x").as_json()
    assert Submission("x", retry=RetryWish(max_attempts=2)).as_json()["retry"]["max_attempts"] == 2


def test_a_new_task_carries_its_wish_and_the_policy_in_force() -> None:
    wish = RetryWish(max_attempts=2)
    job = new_task(
        Submission("x", retry=wish),
        Caller("acme", "key", "request", "trace"),
        task_id="t",
        session_id="s",
        policy=POLICIES.resolve(wish, None),
        deadline_at=None,
    )

    assert job.max_attempts == 2
    assert read_wish(job.fields["retry_wish"]) == wish
    assert read_policy(job.fields["retry"]).max_attempts == 2


async def test_the_handlers_policy_decides_once_the_agent_is_known(jobs: JobStore, runner_of: MakeRunner) -> None:
    async def handler(attempt: Attempt) -> Outcome:
        attempt.policy = RetryPolicy(1, attempt.policy.backoff)
        raise ProviderDown("the provider answered 500")

    await jobs.enqueue(a_new_job(max_attempts=3))

    await runner_of(handler).run("job-1", worker="w1")

    assert (await jobs.get("job-1")).status is Status.FAILED


async def test_a_retry_that_comes_too_late_is_not_made(jobs: JobStore, runner_of: MakeRunner, clock: FakeClock) -> None:
    ran = []

    async def handler(attempt: Attempt) -> Outcome:
        ran.append(attempt.job.attempt)
        if len(ran) == 1:
            return RetryAt(clock(), JobError("LLM_ERROR", "the provider answered 500"))
        return Finished()

    within_a_minute = RetryPolicy(3, DEFAULT.backoff, max_total=60 * SECOND)
    await jobs.enqueue(a_new_job())
    runner = runner_of(handler, policy_of=lambda job: within_a_minute)
    await runner.run("job-1", worker="w1")
    clock.advance(61 * SECOND)

    await runner.run("job-1", worker="w1")

    job = await jobs.get("job-1")
    assert ran == [1]
    assert (job.status, job.document["history"][-1]["reason"]) == (Status.FAILED, Reason.FAILED)
    assert job.error is not None
    assert job.error.message.startswith("the provider answered 500; no attempt may start later than 60 s")
