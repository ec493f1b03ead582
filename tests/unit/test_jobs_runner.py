"""One attempt from claim to settled outcome, whatever the handler does meanwhile."""

import asyncio
import contextlib
from datetime import timedelta

import pytest

from app.database.documents import Documents
from app.database.errors import StoreUnavailable
from app.jobs.models import Job, Reason, Status
from app.jobs.outcomes import Finished, Outcome, RetryAt
from app.jobs.reconciler import Reconciler
from app.jobs.recovery import Recovery
from app.jobs.runner import Attempt
from app.jobs.store import JobStore
from app.jobs.transitions import Evidence
from tests.job_builders import SECOND, TENANT, FakeClock, a_new_job
from tests.runner_builders import MakeRunner, Patient, ProviderDown, start


async def test_a_handlers_result_is_stored(jobs: JobStore, runner_of: MakeRunner, settled: list[Outcome]) -> None:
    async def handler(attempt: Attempt) -> Outcome:
        attempt.evidence.append("agent_runs", "run")
        return Finished({"result": "done"})

    await jobs.enqueue(a_new_job(fields={"agent_runs": []}))

    await runner_of(handler).run("job-1", worker="w1")

    job = await jobs.get("job-1")
    assert job.status is Status.COMPLETED
    assert (job.document["result"], job.document["agent_runs"]) == ("done", ["run"])
    assert len(settled) == 1


async def test_a_handler_runs_once_however_often_the_message_arrives(jobs: JobStore, runner_of: MakeRunner) -> None:
    ran = []

    async def handler(attempt: Attempt) -> Outcome:
        ran.append(attempt.job.attempt)
        return Finished()

    await jobs.enqueue(a_new_job())
    runner = runner_of(handler)

    await asyncio.gather(*(runner.run("job-1", worker="w1") for _ in range(10)))

    assert ran == [1]


async def test_a_retryable_failure_keeps_its_evidence_and_waits(jobs: JobStore, runner_of: MakeRunner) -> None:
    async def handler(attempt: Attempt) -> Outcome:
        attempt.evidence.append("agent_runs", "failed run")
        raise ProviderDown("the provider answered 500")

    await jobs.enqueue(a_new_job(fields={"agent_runs": []}))

    await runner_of(handler).run("job-1", worker="w1")

    job = await jobs.get("job-1")
    assert job.status is Status.QUEUED
    assert job.error is not None
    assert job.error.type == "LLM_ERROR"
    assert job.document["agent_runs"] == ["failed run"]


async def test_an_unforeseen_exception_fails_the_job_without_telling_its_text(
    jobs: JobStore, runner_of: MakeRunner
) -> None:
    async def handler(attempt: Attempt) -> Outcome:
        raise ValueError("secret prompt")

    await jobs.enqueue(a_new_job())

    await runner_of(handler).run("job-1", worker="w1")

    job = await jobs.get("job-1")
    assert job.status is Status.FAILED
    assert job.error is not None
    assert job.error.type == "INTERNAL"
    assert "secret" not in job.error.message


async def test_a_cancelled_job_stops_its_coroutine_and_writes_nothing_after(
    jobs: JobStore, runner_of: MakeRunner
) -> None:
    handler = Patient()
    await jobs.enqueue(a_new_job())
    runner = runner_of(handler)
    task = await start(runner, handler)

    runner.cancel("job-1")
    await task

    assert handler.cancelled
    assert (await jobs.get("job-1")).status is Status.CANCELLED
    assert runner.is_idle


async def test_a_draining_worker_hands_its_job_back_uncharged(jobs: JobStore, runner_of: MakeRunner) -> None:
    handler = Patient()
    await jobs.enqueue(a_new_job())
    runner = runner_of(handler)
    task = await start(runner, handler)

    runner.stop_all()
    await task

    job = await jobs.get("job-1")
    assert (job.status, job.attempt, job.error) == (Status.QUEUED, 0, None)


async def test_a_worker_that_lost_its_lease_stops_and_writes_nothing(
    jobs: JobStore, runner_of: MakeRunner, settled: list[Outcome]
) -> None:
    handler = Patient()
    await jobs.enqueue(a_new_job())
    runner = runner_of(handler)
    task = await start(runner, handler)
    before = (await jobs.get("job-1")).document

    runner.fence("w1")
    await task

    assert handler.cancelled
    assert (await jobs.get("job-1")).document == before
    assert settled == []


async def test_a_claim_that_arrives_after_the_lease_ran_out_is_not_run(jobs: JobStore, runner_of: MakeRunner) -> None:
    handler = Patient()
    await jobs.enqueue(a_new_job())
    runner = runner_of(handler)

    runner.fence("w1")
    await runner.run("job-1", worker="w1")

    assert not handler.started.is_set()


async def test_a_lost_lease_outranks_a_cancel_request(jobs: JobStore, runner_of: MakeRunner) -> None:
    handler = Patient()
    await jobs.enqueue(a_new_job())
    runner = runner_of(handler)
    task = await start(runner, handler)

    runner.cancel("job-1")
    runner.fence("w1")
    await task

    assert (await jobs.get("job-1")).status is Status.PROCESSING


async def test_an_attempt_that_takes_too_long_is_stopped_and_retried(jobs: JobStore, runner_of: MakeRunner) -> None:
    handler = Patient()
    await jobs.enqueue(a_new_job())

    await runner_of(handler, timeout=timedelta(milliseconds=10)).run("job-1", worker="w1")

    job = await jobs.get("job-1")
    assert handler.cancelled
    assert job.status is Status.QUEUED
    assert job.error is not None
    assert job.error.type == "TIMEOUT"


async def test_a_job_past_its_deadline_fails_for_good(jobs: JobStore, runner_of: MakeRunner, clock: FakeClock) -> None:
    handler = Patient()
    await jobs.enqueue(a_new_job(deadline_at=clock() - SECOND))

    await runner_of(handler).run("job-1", worker="w1")

    job = await jobs.get("job-1")
    assert job.status is Status.FAILED
    assert job.error is not None
    assert job.error.type == "DEADLINE_EXCEEDED"


async def test_a_job_cancelled_before_it_was_claimed_again_does_not_run(
    jobs: JobStore, documents: Documents, runner_of: MakeRunner
) -> None:
    handler = Patient()
    await jobs.enqueue(a_new_job())
    await documents.update_one({"_id": "job-1"}, {"$set": {"cancel_requested_at": FakeClock()()}})

    await runner_of(handler).run("job-1", worker="w1")

    assert not handler.started.is_set()
    assert (await jobs.get("job-1")).status is Status.CANCELLED


class StoreWithAPause(JobStore):
    """A store that does not answer the first few times an outcome is written."""

    failures = 2

    async def settle(self, job: Job, outcome: Outcome, evidence: Evidence) -> None:
        if self.failures:
            self.failures -= 1
            raise StoreUnavailable("away for a moment")
        await super().settle(job, outcome, evidence)


async def test_a_result_survives_a_store_that_is_away_for_a_moment(
    documents: Documents, runner_of: MakeRunner, clock: FakeClock
) -> None:
    async def handler(attempt: Attempt) -> Outcome:
        return Finished({"result": "done"})

    store = StoreWithAPause(documents, clock=clock, redispatch=SECOND)
    await store.enqueue(a_new_job())

    await runner_of(handler, store=store).run("job-1", worker="w1")

    assert (await store.get("job-1")).document["result"] == "done"


async def test_a_cancel_request_for_a_running_job_reaches_the_client_as_accepted(jobs: JobStore) -> None:
    await jobs.enqueue(a_new_job())
    await jobs.claim("job-1", worker="w1")

    first, second = await jobs.cancel(TENANT, "job-1"), await jobs.cancel(TENANT, "job-1")

    assert (first, second) == (Status.PROCESSING, Status.PROCESSING)


async def test_a_job_claimed_while_the_worker_drains_is_handed_back_unrun(
    jobs: JobStore, runner_of: MakeRunner
) -> None:
    handler = Patient()
    await jobs.enqueue(a_new_job())
    runner = runner_of(handler)

    runner.stop_all()
    await runner.run("job-1", worker="w1")

    job = await jobs.get("job-1")
    assert not handler.started.is_set()
    assert (job.status, job.attempt) == (Status.QUEUED, 0)


@pytest.mark.parametrize(("refused", "kept"), [("runs", 7), ("cost", None)])
async def test_a_result_that_no_store_can_hold_fails_the_job_instead_of_losing_it_and_its_price(
    documents: Documents, runner_of: MakeRunner, clock: FakeClock, refused: str, kept: int | None
) -> None:
    class Picky(JobStore):
        async def settle(self, job: Job, outcome: Outcome, evidence: Evidence) -> None:
            if isinstance(outcome, Finished) or refused in {**evidence.appended, **evidence.fields}:
                raise UnicodeEncodeError("utf-8", "\ud83d", 0, 1, "surrogates not allowed")
            await super().settle(job, outcome, evidence)

    async def handler(attempt: Attempt) -> Outcome:
        attempt.evidence.append("runs", "a very long one")
        attempt.evidence.fields["cost"] = 7
        return Finished({"result": "half a character"})

    store = Picky(documents, clock=clock, redispatch=SECOND)
    await store.enqueue(a_new_job())

    await runner_of(handler, store=store).run("job-1", worker="w1")

    job = await store.get("job-1")
    assert job.status is Status.FAILED
    assert job.error is not None
    assert job.error.type == "INTERNAL"
    assert job.document.get("cost") == kept


async def test_a_handler_whose_inner_task_was_cancelled_fails_and_is_not_forgotten(
    jobs: JobStore, runner_of: MakeRunner
) -> None:
    async def handler(attempt: Attempt) -> Outcome:
        inner = asyncio.ensure_future(asyncio.Event().wait())
        inner.cancel()
        await inner
        return Finished()

    await jobs.enqueue(a_new_job())

    await runner_of(handler).run("job-1", worker="w1")

    assert (await jobs.get("job-1")).status is Status.FAILED


async def test_a_handler_that_will_not_stop_does_not_hold_up_the_outcome(jobs: JobStore, runner_of: MakeRunner) -> None:
    stubborn, may_end = asyncio.Event(), asyncio.Event()

    async def handler(attempt: Attempt) -> Outcome:
        stubborn.set()
        while not may_end.is_set():
            with contextlib.suppress(asyncio.CancelledError):
                await may_end.wait()
        return Finished()

    await jobs.enqueue(a_new_job())
    runner = runner_of(handler)
    task = asyncio.create_task(runner.run("job-1", worker="w1"))
    await stubborn.wait()

    runner.cancel("job-1")
    await task

    assert (await jobs.get("job-1")).status is Status.CANCELLED
    may_end.set()


async def test_what_the_store_says_we_hold_and_nobody_works_on_is_given_back(
    jobs: JobStore, recovery: Recovery, runner_of: MakeRunner, clock: FakeClock
) -> None:
    handler = Patient()
    runner = runner_of(handler)
    await jobs.enqueue(a_new_job("job-1"))
    await jobs.enqueue(a_new_job("job-2"))
    task = await start(runner, handler)
    await jobs.claim("job-2", worker="w1")
    reconciler = Reconciler(
        recovery,
        runner,
        patience=10 * SECOND,
        clock=clock,
        decide=lambda job: RetryAt(clock(), reason=Reason.WORKER_LOST),
        on_released=lambda job, outcome: None,
    )

    too_early = await reconciler.release_forgotten("w1")
    clock.advance(11 * SECOND)
    later = await reconciler.release_forgotten("w1")

    assert (too_early, later) == (0, 1)
    assert (await jobs.get("job-1")).status is Status.PROCESSING
    assert (await jobs.get("job-2")).status is Status.QUEUED
    handler.may_end.set()
    await task
