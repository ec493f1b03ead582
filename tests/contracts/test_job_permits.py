"""Limits over all workers: who gets a permit, who waits for one, and that none is lost."""

import asyncio
from collections import Counter
from datetime import timedelta

import pytest

from app.database.documents import Documents
from app.database.errors import StoreUnavailable
from app.jobs.dispatch import Dispatcher, NotAdmitted, Taken
from app.jobs.limits import Limit, Limits
from app.jobs.models import Status
from app.jobs.outcomes import Deferred, Finished, RetryAt
from app.jobs.queue import MOST_LANES, JobQueue
from app.jobs.recovery import Recovery
from app.jobs.transitions import Evidence
from tests.contracts.job_fleet import LONG, CountingPermits, Fleet, take_all, tenants
from tests.job_builders import OTHER_TENANT, REDISPATCH, SECOND, TENANT

# The fake reads every document for each look-up; hundreds of lanes would take it a minute.
REAL_INDEX = pytest.mark.parametrize("fleet", ["embedded"], indirect=True)


async def test_a_tenants_limit_is_never_exceeded_however_many_workers_try(fleet: Fleet) -> None:
    bells = await fleet.add(20)
    workers = [fleet.worker(limits=Limits(tenants={TENANT: 3})) for _ in range(4)]

    answers = await asyncio.gather(*(workers[n % 4].take(bells[n], worker=f"w{n % 4}") for n in range(20)))

    assert len([taken for taken in answers if taken]) == 3


async def test_what_waits_for_a_permit_is_started_when_one_is_given_back(fleet: Fleet) -> None:
    first, second, third = await fleet.add(3)
    worker = fleet.worker(limits=Limits(tenants={TENANT: 1}))
    [running] = await take_all(worker, [first, second, third])

    await fleet.finish(worker, running)

    assert fleet.bell.rung == [second]
    assert [taken.job.id for taken in await take_all(worker, [second])] == [second]


async def test_a_tenant_at_its_limit_does_not_hold_up_another(fleet: Fleet) -> None:
    bells = await fleet.add(30)
    others = await fleet.add(5, tenant=OTHER_TENANT)
    worker = fleet.worker(limits=Limits(tenants={TENANT: 2}))

    taken = await take_all(worker, [*bells, *others])

    assert tenants(taken) == {TENANT: 2, OTHER_TENANT: 5}


async def test_all_jobs_of_a_limited_tenant_run_in_the_end(fleet: Fleet) -> None:
    bells, ran = await fleet.add(15), list[str]()
    worker = fleet.worker(limits=Limits(tenants={"*": 2}))
    running = await take_all(worker, bells)

    while running:
        done = running.pop(0)
        ran.append(done.job.id)
        await fleet.finish(worker, done)
        waiting, fleet.bell.rung = fleet.bell.rung, []
        running += await take_all(worker, waiting)

    assert sorted(ran) == bells


async def test_an_agents_limit_counts_over_all_tenants(fleet: Fleet) -> None:
    bells = await fleet.add(3, agent="Slow") + await fleet.add(3, tenant=OTHER_TENANT, agent="Slow")
    quick = await fleet.add(2, agent="Quick")

    taken = await take_all(fleet.worker(limits=Limits(agents={"Slow": 2})), bells + quick)

    assert Counter(one.job.document["agent"] for one in taken) == {"Slow": 2, "Quick": 2}


async def test_a_job_whose_agent_becomes_known_late_is_deferred_and_comes_back(fleet: Fleet) -> None:
    known, unknown = [*await fleet.add(1, agent="Slow"), *await fleet.add(1)]
    worker = fleet.worker(limits=Limits(agents={"Slow": 1}))
    running, late = await take_all(worker, [known, unknown])

    with pytest.raises(NotAdmitted) as refused:
        await worker.admit(late.job, "Slow", held=late.permits)
    await fleet.store.settle(late.job, Deferred(refused.value.permit, TENANT), Evidence())
    await fleet.finish(worker, running)

    waiting = await fleet.store.get(unknown)
    assert fleet.bell.rung == [unknown]
    assert (waiting.status, waiting.attempt) == (Status.QUEUED, 0)
    assert [taken.job.id for taken in await take_all(worker, [unknown])] == [unknown]


async def test_a_cancelled_job_that_waited_for_a_permit_takes_none(fleet: Fleet) -> None:
    first, second, third = await fleet.add(3)
    worker = fleet.worker(limits=Limits(tenants={TENANT: 1}))
    [running] = await take_all(worker, [first, second, third])

    await fleet.store.cancel(TENANT, second)
    await fleet.finish(worker, running)

    assert fleet.bell.rung == [third]


async def test_permits_of_a_dead_worker_are_taken_back_and_given_to_who_waits(fleet: Fleet) -> None:
    first, second = await fleet.add(2)
    limits = Limits(tenants={TENANT: 1})
    [lost] = await take_all(fleet.worker(limits=limits), [first, second])
    await fleet.store.settle(lost.job, Finished(), Evidence())  # and the worker dies before it gives the permit back

    fleet.clock.advance(LONG)
    await fleet.parking(limits=limits).heal()

    assert fleet.bell.rung == [second]
    assert [taken.job.id for taken in await take_all(fleet.worker(limits=limits), [second])] == [second]


async def test_permits_of_running_jobs_are_left_alone(fleet: Fleet) -> None:
    first, second = await fleet.add(2)
    limits = Limits(tenants={TENANT: 1})
    await take_all(fleet.worker(limits=limits), [first, second])

    fleet.clock.advance(LONG)
    await fleet.parking(limits=limits).heal()

    assert fleet.bell.rung == []


async def test_jobs_parked_for_a_limit_that_is_no_more_are_started(fleet: Fleet) -> None:
    bells = await fleet.add(5)
    await take_all(fleet.worker(limits=Limits(tenants={TENANT: 1})), bells)

    await fleet.parking().heal()

    assert fleet.bell.rung == bells[1:]


async def test_a_parked_job_is_not_rung_for_by_the_sweep(fleet: Fleet) -> None:
    bells = await fleet.add(2)
    await take_all(fleet.worker(limits=Limits(tenants={TENANT: 1})), bells)
    recovery = Recovery(Documents(fleet.database["jobs"]), clock=fleet.clock, redispatch=REDISPATCH)

    fleet.clock.advance(timedelta(minutes=10))

    assert await recovery.list_due() == []
    assert await recovery.list_silent() == []
    assert await recovery.count_startable(limit=10) == 0


async def test_a_burst_behind_a_limit_is_put_aside_once_and_not_by_every_slot(fleet: Fleet) -> None:
    number = 60
    bells = await fleet.add(number, agent="slow")
    permits = fleet.permits()
    worker = fleet.worker(limits=Limits(agents={"slow": 2}), permits=permits)
    # It has waited, which tells of a backlog.
    fleet.clock.advance(LONG)
    first = await worker.take(bells[0], worker="w1")

    answers = await asyncio.gather(*(worker.take(job_id, worker="w1") for job_id in bells))

    assert len([taken for taken in (first, *answers) if taken]) == 2
    assert permits.asked <= 2 * number


async def run_all(fleet: Fleet, worker: Dispatcher, bells: list[str]) -> list[Taken]:
    """Run one after the other whatever the bells start; in the order in which they ended."""
    ended, running = list[Taken](), await take_all(worker, bells)
    while running:
        await fleet.finish(worker, running[0])
        ended.append(running.pop(0))
        bells, fleet.bell.rung = fleet.bell.rung, []
        running += await take_all(worker, bells)
    return ended


async def test_what_one_tenant_parked_for_an_agent_does_not_hold_up_another(fleet: Fleet) -> None:
    bells = await fleet.add(20, agent="Slow") + await fleet.add(2, tenant=OTHER_TENANT, agent="Slow")

    ended = await run_all(fleet, fleet.worker(limits=Limits(agents={"Slow": 2})), bells)

    assert len(ended) == 22
    assert tenants(ended[:6])[OTHER_TENANT] == 2


@REAL_INDEX
async def test_a_dead_workers_permit_is_passed_on_however_many_others_are_waited_for(fleet: Fleet) -> None:
    limits = Limits(tenants={"*": 1})
    bells = [job_id for n in range(MOST_LANES + 1) for job_id in await fleet.add(2, tenant=f"tenant-{n:03}")]
    lost = (await take_all(fleet.worker(limits=limits), bells))[-1]
    await fleet.store.settle(lost.job, Finished(), Evidence())

    fleet.clock.advance(LONG)
    await fleet.parking(limits=limits).heal()

    assert fleet.bell.rung == bells[-1:]


@REAL_INDEX
async def test_everything_parked_without_need_is_found_in_turns(fleet: Fleet) -> None:
    bells = [job_id for n in range(MOST_LANES + 1) for job_id in await fleet.add(2, tenant=f"tenant-{n:03}")]
    await take_all(fleet.worker(limits=Limits(tenants={"*": 1})), bells)
    unlimited = fleet.parking()

    for _ in range(2):
        await unlimited.heal()

    assert sorted(fleet.bell.rung) == bells[1::2]


async def test_of_more_permits_than_are_read_at_once_each_is_read_in_turns(fleet: Fleet) -> None:
    ids = [(await fleet.add(1, tenant=f"tenant-{n}"))[0] for n in range(5)]
    for taken in await take_all(fleet.worker(limits=Limits(tenants={"*": 1})), ids):
        await fleet.store.settle(taken.job, Finished(), Evidence())
    fleet.clock.advance(LONG)
    permits = fleet.permits()

    found = [holder.job_id for _ in range(3) for holder in await permits.list_stale(most=2)]

    assert found == ids


async def test_a_job_that_was_tried_meanwhile_and_waits_for_its_time_is_not_parked(fleet: Fleet) -> None:
    [job_id] = await fleet.add(1)
    seen = await fleet.store.get(job_id)
    [taken] = await take_all(fleet.worker(), [job_id])
    await fleet.store.settle(taken.job, RetryAt(fleet.clock() + 5 * SECOND), Evidence())
    queue = JobQueue(Documents(fleet.database["jobs"]), clock=fleet.clock, redispatch=REDISPATCH)

    assert not await queue.park(seen, "tenant:acme")


async def test_a_permit_that_cannot_be_passed_on_does_not_keep_the_next_from_being_given_back(fleet: Fleet) -> None:
    class Failing(CountingPermits):
        async def count_free(self, limit: Limit) -> int:
            raise StoreUnavailable("away")

    [job_id] = await fleet.add(1, agent="Slow")
    permits = Failing(
        Documents(fleet.database["permits"]),
        {"jobs": Documents(fleet.database["jobs"])},
        clock=fleet.clock,
        patience=10 * SECOND,
    )
    worker = fleet.worker(limits=Limits(tenants={"*": 1}, agents={"Slow": 1}), permits=permits)
    [taken] = await take_all(worker, [job_id])

    with pytest.raises(StoreUnavailable):
        await fleet.finish(worker, taken)

    assert [await fleet.permits().count_free(Limit(permit, 1)) for permit in taken.permits] == [1, 1]


async def test_a_lost_claims_permit_is_taken_back_soon_after_the_claim(fleet: Fleet) -> None:
    first, second = await fleet.add(2)
    limits = Limits(tenants={TENANT: 1})
    [lost] = await take_all(fleet.worker(limits=limits), [first, second])
    await fleet.store.settle(lost.job, RetryAt(fleet.clock() + LONG), Evidence())

    survivor = fleet.parking(limits=limits)
    await survivor.heal()
    at_once = list(fleet.bell.rung)
    fleet.clock.advance(2 * SECOND)
    await survivor.heal()

    assert (at_once, fleet.bell.rung) == ([], [second])


async def test_a_permit_is_kept_while_its_claim_may_be_on_its_way(fleet: Fleet) -> None:
    [job_id] = await fleet.add(1)
    permits, limit = fleet.permits(), Limit("tenant:acme", 1)
    await permits.acquire(limit, kind="jobs", token="token", job_id=job_id)

    found = []
    for _ in range(2):
        fleet.clock.advance(9 * SECOND)
        found.append([holder.job_id for holder in await permits.list_stale()])

    assert found == [[], [job_id]]
