"""The verbs of the kernel: each is one conditional write, and whoever lost the lease writes nothing."""

import asyncio

import pytest

from app.database.documents import Documents
from app.database.errors import DuplicateDocument
from app.errors import LeaseLost, NotFound
from app.jobs.history import read_history
from app.jobs.models import Job, JobError, Reason, Status
from app.jobs.outcomes import Cancelled, Failed, Finished, Outcome, RetryAt, Suspended
from app.jobs.recovery import Recovery
from app.jobs.store import JobFinished, JobNotFinished, JobStore
from app.jobs.transitions import Evidence
from tests.job_builders import OTHER_TENANT, SECOND, TENANT, FakeClock, a_new_job

ERROR = JobError("LLM_ERROR", "the provider failed")
FINALS: tuple[Outcome, ...] = (Finished(), Failed(ERROR), Cancelled())


async def claimed(jobs: JobStore, job_id: str = "job-1", worker: str = "w1") -> Job:
    job = await jobs.claim(job_id, worker=worker)
    assert job is not None
    return job


async def reasons(jobs: JobStore, job_id: str = "job-1") -> list[Reason]:
    return [entry.reason for entry in read_history((await jobs.get(job_id)).document["history"])]


async def test_an_accepted_job_waits_to_be_claimed(jobs: JobStore) -> None:
    job = await jobs.enqueue(a_new_job())

    assert job.status is Status.QUEUED
    assert job.attempt == 0
    assert await reasons(jobs) == [Reason.ACCEPTED]


async def test_an_id_can_be_accepted_once_only(jobs: JobStore) -> None:
    await jobs.enqueue(a_new_job())

    with pytest.raises(DuplicateDocument):
        await jobs.enqueue(a_new_job())


async def test_a_job_is_claimed_by_one_of_many_racing_workers(jobs: JobStore) -> None:
    await jobs.enqueue(a_new_job())

    answers = await asyncio.gather(*(jobs.claim("job-1", worker=f"w{n}") for n in range(50)))

    winners = [job for job in answers if job is not None]
    assert len(winners) == 1
    assert winners[0].attempt == 1


async def test_a_message_that_arrives_twice_claims_nothing(jobs: JobStore) -> None:
    await jobs.enqueue(a_new_job())
    await claimed(jobs)

    assert await jobs.claim("job-1", worker="w2") is None


async def test_a_forged_id_claims_nothing(jobs: JobStore) -> None:
    assert await jobs.claim("nobody", worker="w1") is None


async def test_a_job_is_not_claimed_before_its_time(jobs: JobStore, clock: FakeClock) -> None:
    await jobs.enqueue(a_new_job(not_before=clock() + 10 * SECOND))

    early = await jobs.claim("job-1", worker="w1")
    clock.advance(10 * SECOND)
    due = await jobs.claim("job-1", worker="w1")

    assert early is None
    assert due is not None


async def test_every_claim_has_a_lease_of_its_own(jobs: JobStore, clock: FakeClock) -> None:
    await jobs.enqueue(a_new_job())
    first = await claimed(jobs)
    await jobs.settle(first, RetryAt(clock(), ERROR), Evidence())

    second = await claimed(jobs)

    assert first.lease is not None
    assert second.lease is not None
    assert first.lease.token != second.lease.token


@pytest.mark.parametrize("outcome", FINALS, ids=lambda outcome: type(outcome).__name__)
async def test_a_final_state_frees_the_lease_and_is_marked_for_the_roll_up(jobs: JobStore, outcome: Outcome) -> None:
    await jobs.enqueue(a_new_job())

    await jobs.settle(await claimed(jobs), outcome, Evidence())

    document = (await jobs.get("job-1")).document
    assert Status(document["status"]).is_final
    assert document["lease"] is None
    assert document["completed_at"] is not None
    assert document["uncounted"] is True


async def test_a_result_and_its_evidence_are_written_with_the_final_state(jobs: JobStore) -> None:
    await jobs.enqueue(a_new_job(fields={"agent_runs": []}))
    evidence = Evidence(fields={"cost": 3})
    evidence.append("agent_runs", {"run": 1})

    await jobs.settle(await claimed(jobs), Finished({"result": "done"}), evidence)

    document = (await jobs.get("job-1")).document
    assert (document["result"], document["cost"], document["agent_runs"]) == ("done", 3, [{"run": 1}])


async def test_a_requeued_job_waits_until_its_time_and_keeps_its_error(jobs: JobStore, clock: FakeClock) -> None:
    await jobs.enqueue(a_new_job())
    later = clock() + 5 * SECOND

    await jobs.settle(await claimed(jobs), RetryAt(later, ERROR), Evidence())

    job = await jobs.get("job-1")
    assert (job.status, job.not_before, job.error, job.attempt) == (Status.QUEUED, later, ERROR, 1)


async def test_an_attempt_given_back_by_a_draining_worker_is_not_charged(jobs: JobStore, clock: FakeClock) -> None:
    await jobs.enqueue(a_new_job())
    drained = RetryAt(clock(), reason=Reason.WORKER_DRAINING, charged=False)

    await jobs.settle(await claimed(jobs), drained, Evidence())

    assert (await jobs.get("job-1")).attempt == 0


async def test_a_suspect_that_is_handed_back_uncharged_stays_a_suspect(jobs: JobStore, clock: FakeClock) -> None:
    await jobs.enqueue(a_new_job())
    apart = RetryAt(clock(), reason=Reason.ISOLATED, charged=False, alone=True)
    drained = RetryAt(clock(), reason=Reason.WORKER_DRAINING, charged=False)

    for outcome in (apart, drained):
        await jobs.settle(await claimed(jobs), outcome, Evidence())

    assert (await jobs.get("job-1")).alone


async def test_a_ring_for_an_earlier_time_leaves_a_later_one_alone(
    jobs: JobStore, recovery: Recovery, clock: FakeClock
) -> None:
    await jobs.enqueue(a_new_job())
    first = await jobs.claim("job-1", worker="w1")
    assert first is not None
    await jobs.settle(first, RetryAt(clock() + 5 * SECOND), Evidence())

    # By the reminder of the attempt before, which another message was faster than.
    rung = await recovery.mark_rung("job-1", lane=TENANT, dispatches=0)
    clock.advance(5 * SECOND)

    assert not rung
    assert [job.id for job in await recovery.list_due()] == ["job-1"]


async def test_a_suspended_job_holds_no_worker_and_loses_no_attempt(jobs: JobStore) -> None:
    await jobs.enqueue(a_new_job())

    await jobs.settle(await claimed(jobs), Suspended(), Evidence())

    job = await jobs.get("job-1")
    assert (job.status, job.lease, job.attempt) == (Status.AWAITING_APPROVAL, None, 0)


async def test_a_stalled_worker_cannot_finish_a_job_that_was_reclaimed(
    jobs: JobStore, recovery: Recovery, clock: FakeClock
) -> None:
    await jobs.enqueue(a_new_job())
    stalled = await claimed(jobs, worker="w1")
    await recovery.release(stalled, RetryAt(clock(), reason=Reason.WORKER_LOST))
    replacement = await claimed(jobs, worker="w2")

    with pytest.raises(LeaseLost):
        await jobs.settle(stalled, Finished(), Evidence())

    assert (await jobs.get("job-1")).lease == replacement.lease


async def test_a_stalled_worker_cannot_save_what_it_found(jobs: JobStore, recovery: Recovery, clock: FakeClock) -> None:
    await jobs.enqueue(a_new_job())
    stalled = await claimed(jobs)
    await recovery.release(stalled, RetryAt(clock()))

    with pytest.raises(LeaseLost):
        await jobs.save(stalled, {"routing": "late"})

    assert "routing" not in (await jobs.get("job-1")).document


@pytest.mark.parametrize("first", FINALS, ids=lambda outcome: type(outcome).__name__)
async def test_no_final_state_ever_changes(jobs: JobStore, first: Outcome) -> None:
    await jobs.enqueue(a_new_job())
    job = await claimed(jobs)
    await jobs.settle(job, first, Evidence())
    before = (await jobs.get("job-1")).document

    for outcome in FINALS:
        with pytest.raises(LeaseLost):
            await jobs.settle(job, outcome, Evidence())
    with pytest.raises(JobFinished):
        await jobs.cancel(TENANT, "job-1")

    assert (await jobs.get("job-1")).document == before


async def test_a_waiting_job_is_cancelled_at_once(jobs: JobStore) -> None:
    await jobs.enqueue(a_new_job())

    status = await jobs.cancel(TENANT, "job-1")

    assert status is Status.CANCELLED
    assert (await jobs.get("job-1")).error == JobError("CANCELLED", "the job was cancelled on request")


async def test_a_running_job_is_asked_to_stop(jobs: JobStore, recovery: Recovery) -> None:
    await jobs.enqueue(a_new_job())
    await claimed(jobs, worker="w1")

    status = await jobs.cancel(TENANT, "job-1")

    assert status is Status.PROCESSING
    assert await recovery.list_cancel_requests("w1") == ["job-1"]
    assert await recovery.list_cancel_requests("w2") == []


async def test_cancelling_and_finishing_at_the_same_time_has_one_winner(jobs: JobStore) -> None:
    for number in range(20):
        job_id = f"race-{number}"
        await jobs.enqueue(a_new_job(job_id))
        job = await claimed(jobs, job_id)

        await asyncio.gather(
            jobs.cancel(TENANT, job_id), jobs.settle(job, Finished(), Evidence()), return_exceptions=True
        )

        assert (await reasons(jobs, job_id)).count(Reason.FINISHED) == 1


async def test_a_failed_job_can_begin_a_new_series_with_its_history_kept(jobs: JobStore) -> None:
    await jobs.enqueue(a_new_job())
    await jobs.settle(await claimed(jobs), Failed(ERROR), Evidence())

    job = await jobs.retry(TENANT, "job-1", reset={"result": None}, request="r1")

    assert (job.status, job.attempt, job.error) == (Status.QUEUED, 0, None)
    assert await reasons(jobs) == [Reason.ACCEPTED, Reason.CLAIMED, Reason.FAILED, Reason.RETRIED]


async def test_a_finished_job_cannot_be_retried(jobs: JobStore) -> None:
    await jobs.enqueue(a_new_job())
    await jobs.settle(await claimed(jobs), Finished(), Evidence())

    with pytest.raises(JobNotFinished, match="completed"):
        await jobs.retry(TENANT, "job-1", reset={}, request="r1")


async def test_another_tenants_job_is_not_there(jobs: JobStore) -> None:
    await jobs.enqueue(a_new_job())

    with pytest.raises(NotFound):
        await jobs.cancel(OTHER_TENANT, "job-1")
    with pytest.raises(NotFound):
        await jobs.retry(OTHER_TENANT, "job-1", reset={}, request="r1")

    assert (await jobs.get("job-1")).status is Status.QUEUED


async def test_a_tenants_view_neither_reads_nor_writes_beyond_it(documents: Documents) -> None:
    await documents.insert({"_id": "1", "tenant_id": TENANT, "kind": "a"})
    theirs = documents.of_tenant(OTHER_TENANT)

    assert await theirs.find_one({"_id": "1"}) is None
    assert await theirs.find_one({"_id": "1", "tenant_id": TENANT}) is None
    assert await theirs.find_many({}, limit=10) == []
    assert await theirs.count({}, limit=10) == 0
    assert not await theirs.update_one({"_id": "1"}, {"$set": {"kind": "b"}})
    assert await theirs.change_one({"_id": "1"}, {"$set": {"kind": "b"}}) is None
    assert not await theirs.delete_one({"_id": "1"})
    assert await documents.find_one({"_id": "1"}) == {"_id": "1", "tenant_id": TENANT, "kind": "a"}


async def test_a_document_inserted_by_a_tenant_is_that_tenants_whatever_it_says(documents: Documents) -> None:
    await documents.of_tenant(TENANT).insert({"_id": "1", "tenant_id": OTHER_TENANT})

    assert (await documents.find_one({"_id": "1"}) or {})["tenant_id"] == TENANT
