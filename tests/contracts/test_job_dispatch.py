"""What a worker starts when the bell rings: order and shares, over the fake and over the embedded store."""

from datetime import timedelta

from app.jobs.models import Job
from tests.contracts.job_fleet import LONG, Fleet, take_all, tenants
from tests.job_builders import OTHER_TENANT, TENANT


async def test_without_a_backlog_the_named_job_is_started(fleet: Fleet) -> None:
    _, second = await fleet.add(2)

    taken = await fleet.worker().take(second, worker="w1")

    assert taken is not None
    assert taken.job.id == second


async def test_a_message_for_a_job_that_was_started_starts_another_one(fleet: Fleet) -> None:
    first, second = await fleet.add(2)
    worker = fleet.worker()

    ids = [taken.job.id for taken in await take_all(worker, [first, first, first])]

    assert ids == [first, second]


async def test_ten_jobs_of_one_tenant_do_not_wait_for_the_hundreds_of_another(fleet: Fleet) -> None:
    bells = await fleet.add(200)
    await fleet.add(10, tenant=OTHER_TENANT)
    fleet.clock.advance(LONG)

    taken = await take_all(fleet.worker(), bells[:24])

    assert tenants(taken)[OTHER_TENANT] == 10


async def test_shares_follow_the_weights_over_all_workers_together(fleet: Fleet) -> None:
    bells = await fleet.add(60) + await fleet.add(60, tenant=OTHER_TENANT)
    fleet.clock.advance(LONG)
    workers = [fleet.worker(weights={TENANT: 3.0}) for _ in range(2)]

    taken = [one for worker in workers for one in await take_all(worker, bells[:20])]

    assert 28 <= tenants(taken)[TENANT] <= 32


async def take_from_backlog(fleet: Fleet) -> list[str]:
    """What a worker starts, in order, once it has noticed that there is a backlog."""
    [oldest] = await fleet.add(1, tenant=OTHER_TENANT)
    fleet.clock.advance(LONG)
    worker = fleet.worker()
    taken = await take_all(worker, [oldest] * 20)
    return [one.job.id for one in taken if one.job.tenant_id == TENANT]


async def test_a_higher_priority_goes_ahead_within_its_tenant(fleet: Fleet) -> None:
    [usual, later] = await fleet.add(2, priority=5)
    [low] = await fleet.add(1, priority=0)
    [urgent] = await fleet.add(1, priority=9)

    assert await take_from_backlog(fleet) == [urgent, usual, later, low]


async def test_no_priority_keeps_a_job_waiting_for_ever(fleet: Fleet) -> None:
    [ancient] = await fleet.add(1, priority=0)
    fleet.clock.advance(timedelta(minutes=10))
    urgent = await fleet.add(5, priority=9)

    assert await take_from_backlog(fleet) == [ancient, *urgent]


async def test_a_job_of_an_older_version_without_a_lane_is_started_by_name(fleet: Fleet) -> None:
    [old] = await fleet.add(1)
    await fleet.database["jobs"].update_one({"_id": old}, {"$unset": {"lane": 1, "rank": 1, "alone": 1}})

    assert [taken.job.id for taken in await take_all(fleet.worker(), [old])] == [old]


async def test_suspects_are_left_to_a_worker_that_runs_none(fleet: Fleet) -> None:
    suspect, innocent = await fleet.add(2)
    await fleet.database["jobs"].update_one({"_id": suspect}, {"$set": {"alone": True}})
    worker = fleet.worker()

    taken = [await worker.take(suspect, worker="w1", may_run_alone=may) for may in (False, False, True)]

    assert [one and one.job.id for one in taken] == [innocent, None, suspect]


async def test_hundreds_of_lanes_are_all_served(fleet: Fleet) -> None:
    bells = [(await fleet.add(1, tenant=f"tenant-{n:03}"))[0] for n in range(250)]
    fleet.clock.advance(LONG)
    worker, ran = fleet.worker(), list[Job]()

    for _ in range(len(bells)):
        ran += [taken.job for taken in await take_all(worker, bells[:1])]
        fleet.clock.advance(timedelta(milliseconds=5))

    assert len({job.tenant_id for job in ran}) == 250


async def test_a_tenant_that_comes_to_a_backlog_is_noticed_at_once_while_there_are_few(fleet: Fleet) -> None:
    bells = await fleet.add(30)
    fleet.clock.advance(LONG)
    worker = fleet.worker()
    await take_all(worker, bells[:10])

    [newcomer] = await fleet.add(1, tenant=OTHER_TENANT)
    fleet.clock.advance(timedelta(milliseconds=60))

    assert newcomer in [taken.job.id for taken in await take_all(worker, bells[10:12])]
