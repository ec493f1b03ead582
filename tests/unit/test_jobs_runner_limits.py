"""What an attempt holds beside its lease, and who may run beside whom."""

import asyncio
from dataclasses import replace

from app.database.documents import Documents
from app.jobs.limits import Limit, Limits
from app.jobs.models import Reason, Status
from app.jobs.outcomes import Finished, Outcome
from app.jobs.permits import Permits
from app.jobs.runner import Attempt
from app.jobs.store import JobStore
from tests.job_builders import TENANT, Recorder, a_new_job
from tests.runner_builders import MakeRunner, Patient, ProviderDown, start

ONE_AT_A_TIME = Limits(tenants={TENANT: 1})


async def test_permits_are_given_back_however_the_attempt_ends(
    jobs: JobStore, runner_of: MakeRunner, permits: Permits
) -> None:
    async def handler(attempt: Attempt) -> Outcome:
        raise ProviderDown("the provider answered 500")

    await jobs.enqueue(a_new_job())

    await runner_of(handler, limits=ONE_AT_A_TIME).run("job-1", worker="w1")

    assert await permits.count_free(Limit("tenant:acme", 1)) == 1


async def test_a_job_that_finds_its_agent_busy_is_put_aside_uncharged_with_what_it_saved(
    jobs: JobStore, runner_of: MakeRunner, bell: Recorder
) -> None:
    busy = Patient()

    async def handler(attempt: Attempt) -> Outcome:
        await attempt.save({"agent": "Slow"})
        await attempt.enter("Slow")
        return await busy(attempt)

    for job_id in ("job-1", "job-2"):
        await jobs.enqueue(a_new_job(job_id))
    runner = runner_of(handler, limits=Limits(agents={"Slow": 1}))
    first = await start(runner, busy)

    await runner.run("job-2", worker="w1")
    deferred = await jobs.get("job-2")
    busy.may_end.set()
    await first

    assert (deferred.status, deferred.attempt, deferred.document["agent"]) == (Status.QUEUED, 0, "Slow")
    assert deferred.document["history"][-1]["reason"] == Reason.DEFERRED
    assert bell.rung == ["job-2"]


async def test_two_suspects_never_run_beside_each_other(
    jobs: JobStore, documents: Documents, runner_of: MakeRunner
) -> None:
    suspect = Patient()
    for job_id in ("job-1", "job-2"):
        await jobs.enqueue(a_new_job(job_id))
        await documents.update_one({"_id": job_id}, {"$set": {"alone": True}})
    runner = runner_of(suspect)

    first = await start(runner, suspect)
    await runner.run("job-2", worker="w1")
    beside = await jobs.get("job-2")
    suspect.may_end.set()
    await first
    await runner.run("job-2", worker="w1")

    assert beside.status is Status.QUEUED
    assert (await jobs.get("job-2")).status is Status.COMPLETED


async def test_suspects_follow_each_other_at_once(
    jobs: JobStore, documents: Documents, runner_of: MakeRunner, bell: Recorder
) -> None:
    ids = [f"job-{n}" for n in range(6)]
    running, most = 0, 0

    async def handler(attempt: Attempt) -> Outcome:
        nonlocal running, most
        running, most = running + 1, max(most, running + 1)
        await asyncio.sleep(0)
        running -= 1
        return Finished()

    for job_id in ids:
        await jobs.enqueue(a_new_job(job_id))
        await documents.update_one({"_id": job_id}, {"$set": {"alone": True}})
    runner = runner_of(handler)

    # Their messages come together; after that there are only those that the runner rings for.
    bells = ids
    while bells:
        await asyncio.gather(*(runner.run(job_id, worker="w1") for job_id in bells))
        bells, bell.rung = bell.rung, []

    assert [(await jobs.get(job_id)).status for job_id in ids] == [Status.COMPLETED] * 6
    assert most == 1


async def test_a_message_for_a_suspect_is_heeded_although_another_is_looked_at_beside_it(
    jobs: JobStore, documents: Documents, runner_of: MakeRunner
) -> None:
    async def handler(attempt: Attempt) -> Outcome:
        return Finished()

    for job_id in ("job-1", "suspect"):
        await jobs.enqueue(a_new_job(job_id))
    await documents.update_one({"_id": "suspect"}, {"$set": {"alone": True}})
    runner = runner_of(handler)

    await asyncio.gather(*(runner.run(job_id, worker="w1") for job_id in ("job-1", "suspect")))

    assert (await jobs.get("suspect")).status is Status.COMPLETED


async def test_an_attempt_is_given_the_permit_it_lacks_whatever_its_document_says(
    jobs: JobStore, documents: Documents, runner_of: MakeRunner, permits: Permits
) -> None:
    free: list[int] = []

    async def handler(attempt: Attempt) -> Outcome:
        # As after another attempt, which found the agent between our look at the job and our claim.
        attempt.job = replace(attempt.job, document={**attempt.job.document, "agent": "Slow"})
        await attempt.enter("Slow")
        free.append(await permits.count_free(Limit("agent:Slow", 1)))
        return Finished()

    await jobs.enqueue(a_new_job())

    await runner_of(handler, limits=Limits(agents={"Slow": 1})).run("job-1", worker="w1")

    assert free == [0]
