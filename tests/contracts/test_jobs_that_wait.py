"""What is done to a job that waits, without a message or an attempt: each one write, on every store."""

import asyncio
from typing import Any

import pytest

from app.database.documents import Documents
from app.database.indexes import ensure_indexes
from app.errors import LeaseLost, NotFound
from app.jobs.models import Job, JobError, Reason, Status
from app.jobs.outcomes import Failed, Finished, RetryAt, Suspended
from app.jobs.recovery import Recovery, indexes
from app.jobs.store import JobFinished, JobNotSuspended, JobStore
from app.jobs.transitions import Evidence
from tests.contracts.store_outcomes import Database
from tests.job_builders import OTHER_TENANT, REDISPATCH, SECOND, TENANT, FakeClock, a_new_job

LIMIT = 5
REFUSED = Failed(JobError("APPROVAL_REJECTED", "somebody said no"))


@pytest.fixture
async def documents(db: Database) -> Documents:
    await ensure_indexes(db, indexes("jobs"))
    return Documents(db["jobs"])


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def jobs(documents: Documents, clock: FakeClock) -> JobStore:
    return JobStore(documents, clock=clock, redispatch=REDISPATCH)


@pytest.fixture
def brief(documents: Documents, clock: FakeClock) -> JobStore:
    """A store of the same jobs that keeps little history."""
    return JobStore(documents, clock=clock, redispatch=REDISPATCH, history_limit=LIMIT)


async def suspended(jobs: JobStore, job_id: str = "job-1", **fields: Any) -> Job:
    await jobs.enqueue(a_new_job(job_id, fields=fields))
    claimed = await jobs.claim(job_id, worker="w1")
    assert claimed is not None
    await jobs.settle(claimed, Suspended(), Evidence())
    return await jobs.get(job_id)


def steps_of(job: Job) -> list[tuple[str, str]]:
    return [(entry["status"], entry["reason"]) for entry in job.document["history"]]


async def test_who_wakes_a_suspended_job_goes_on_with_it_at_once(jobs: JobStore, clock: FakeClock) -> None:
    await suspended(jobs)
    clock.advance(10 * SECOND)

    job = await jobs.claim_suspended("job-1", worker="w2")

    assert job is not None
    assert job.lease is not None
    assert (job.status, job.lease.worker, job.attempt) == (Status.PROCESSING, "w2", 1)
    assert (job.resumed_at, job.document["started_at"]) == (clock(), clock())
    assert steps_of(job)[-2:] == [("awaiting_approval", Reason.SUSPENDED), ("processing", Reason.CLAIMED)]


async def test_a_suspended_job_is_woken_by_one_of_many(jobs: JobStore) -> None:
    await suspended(jobs)

    answers = await asyncio.gather(*(jobs.claim_suspended("job-1", worker=f"w{n}") for n in range(10)))

    assert sum(job is not None for job in answers) == 1


async def test_of_a_claim_and_a_message_after_resuming_one_wins(jobs: JobStore) -> None:
    await suspended(jobs)
    await jobs.resume(TENANT, "job-1", where={}, fields={}, request="r1")

    assert await jobs.claim_suspended("job-1", worker="w2") is None
    assert await jobs.claim("job-1", worker="w3") is not None


@pytest.mark.parametrize("outcome", [None, Finished(), REFUSED])
async def test_what_is_not_suspended_is_not_woken(jobs: JobStore, outcome: Finished | Failed | None) -> None:
    await jobs.enqueue(a_new_job())
    claimed = await jobs.claim("job-1", worker="w1")
    assert claimed is not None
    if outcome is not None:
        await jobs.settle(claimed, outcome, Evidence())

    assert await jobs.claim_suspended("job-1", worker="w2") is None
    assert await jobs.claim_suspended("nobody", worker="w2") is None


async def test_a_suspect_of_killing_workers_is_left_to_a_message(jobs: JobStore, documents: Documents) -> None:
    await suspended(jobs)
    await documents.update_one({"_id": "job-1"}, {"$set": {"alone": True}})

    assert await jobs.claim_suspended("job-1", worker="w2") is None


async def test_a_woken_job_that_is_suspended_again_has_lost_no_attempt(jobs: JobStore) -> None:
    await suspended(jobs)

    for _ in range(3):
        job = await jobs.claim_suspended("job-1", worker="w2")
        assert job is not None
        await jobs.settle(job, Suspended(), Evidence())

    assert (await jobs.get("job-1")).attempt == 0


async def test_a_queued_job_is_concluded_without_an_attempt(jobs: JobStore, clock: FakeClock) -> None:
    await jobs.enqueue(a_new_job(not_before=clock() + 10 * SECOND))

    job = await jobs.conclude(TENANT, "job-1", where={}, outcome=Finished({"output": 1}), fields={"heard": False})

    assert (job.status, job.attempt, job.document["completed_at"]) == (Status.COMPLETED, 0, clock())
    assert (job.document["output"], job.document["heard"]) == (1, False)
    assert (job.document["lane"], job.document["next_dispatch_at"]) == (None, None)
    assert steps_of(job) == [("queued", Reason.ACCEPTED), ("completed", Reason.FINISHED)]
    clock.advance(20 * SECOND)
    assert await jobs.claim("job-1", worker="w1") is None


async def test_a_suspended_job_is_concluded_with_its_error(jobs: JobStore) -> None:
    await suspended(jobs)

    job = await jobs.conclude(TENANT, "job-1", where={}, outcome=REFUSED, fields={})

    assert (job.status, job.error) == (Status.FAILED, REFUSED.error)


async def test_a_job_that_is_not_as_expected_any_more_is_not_concluded(jobs: JobStore) -> None:
    await suspended(jobs, votes=1)

    with pytest.raises(JobNotSuspended, match="awaiting_approval"):
        await jobs.conclude(TENANT, "job-1", where={"votes": 2}, outcome=Finished(), fields={})

    assert (await jobs.get("job-1")).status is Status.AWAITING_APPROVAL


async def test_what_somebody_works_on_or_has_ended_is_not_concluded(jobs: JobStore) -> None:
    await jobs.enqueue(a_new_job())
    claimed = await jobs.claim("job-1", worker="w1")
    assert claimed is not None
    with pytest.raises(JobNotSuspended, match="processing"):
        await jobs.conclude(TENANT, "job-1", where={}, outcome=Finished(), fields={})

    await jobs.settle(claimed, REFUSED, Evidence())

    with pytest.raises(JobNotSuspended, match="failed"):
        await jobs.conclude(TENANT, "job-1", where={}, outcome=Finished(), fields={})


async def test_nobody_concludes_another_tenants_job(jobs: JobStore) -> None:
    await suspended(jobs)

    with pytest.raises(NotFound):
        await jobs.conclude(OTHER_TENANT, "job-1", where={}, outcome=Finished(), fields={})


async def test_concluding_and_waking_at_the_same_time_has_one_winner(jobs: JobStore) -> None:
    await suspended(jobs)

    woken, concluded = await asyncio.gather(
        jobs.claim_suspended("job-1", worker="w2"),
        jobs.conclude(TENANT, "job-1", where={}, outcome=Finished(), fields={}),
        return_exceptions=True,
    )

    assert (woken is None) != isinstance(concluded, JobNotSuspended)


async def test_a_job_that_is_woken_for_days_keeps_the_newest_of_its_history(brief: JobStore) -> None:
    await suspended(brief)

    for _ in range(LIMIT):
        job = await brief.claim_suspended("job-1", worker="w2")
        assert job is not None
        await brief.settle(job, Suspended(), Evidence(noted={"kept": True}, appended={"log": [1]}))

    kept = await brief.get("job-1")
    assert [status for status, _ in steps_of(kept)] == ["awaiting_approval", *["processing", "awaiting_approval"] * 2]
    assert kept.document["history"][-1]["noted"] == {"kept": True}
    assert kept.document["log"] == [1] * LIMIT


async def test_every_verb_keeps_the_history_within_its_limit(brief: JobStore, clock: FakeClock) -> None:
    await suspended(brief)

    for number in range(3):
        await brief.resume(TENANT, "job-1", where={}, fields={}, request=f"resume-{number}")
        job = await brief.claim("job-1", worker="w1")
        assert job is not None
        await brief.settle(job, RetryAt(clock()), Evidence())
        await brief.cancel(TENANT, "job-1")
        assert len((await brief.get("job-1")).document["history"]) == LIMIT
        await brief.retry(TENANT, "job-1", reset={}, request=f"retry-{number}")
        job = await brief.claim("job-1", worker="w1")
        assert job is not None
        await brief.settle(job, Suspended(), Evidence())
        assert len((await brief.get("job-1")).document["history"]) == LIMIT

    ended = await brief.conclude(TENANT, "job-1", where={}, outcome=Finished(), fields={})
    assert steps_of(ended)[-1] == ("completed", Reason.FINISHED)
    assert len(ended.document["history"]) == LIMIT
    with pytest.raises(JobFinished):
        await brief.cancel(TENANT, "job-1")


async def test_what_the_sweep_writes_keeps_the_history_within_its_limit(
    brief: JobStore, documents: Documents, clock: FakeClock
) -> None:
    recovery = Recovery(documents, clock=clock, redispatch=REDISPATCH, history_limit=LIMIT)
    await suspended(brief)

    for _ in range(LIMIT):
        job = await brief.claim_suspended("job-1", worker="w2")
        assert job is not None
        assert await recovery.release(job, Suspended())
        with pytest.raises(LeaseLost):
            await brief.settle(job, Finished(), Evidence())
    await documents.update_one({"_id": "job-1"}, {"$set": {"cancel_requested_at": clock()}})
    [asked] = await recovery.list_unheeded()
    assert await recovery.cancel_unheeded(asked)

    job = await brief.get("job-1")
    assert len(job.document["history"]) == LIMIT
    assert steps_of(job)[-1] == ("cancelled", Reason.CANCELLED)
