"""What a worker starts when the bell rings: order, shares and limits, over the fake and over the embedded store."""

import asyncio
import itertools
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from types import MappingProxyType
from typing import Any
from uuid import uuid4

import pytest
from pymongo import AsyncMongoClient

from app.database.documents import Database, Documents
from app.database.indexes import ensure_indexes
from app.jobs import recovery as job_recovery
from app.jobs.dispatch import Dispatcher, NotAdmitted, Taken
from app.jobs.lanes import FairOrder
from app.jobs.limits import Limits
from app.jobs.models import Job, Status
from app.jobs.outcomes import Deferred, Finished
from app.jobs.permits import Permits
from app.jobs.queue import JobQueue
from app.jobs.recovery import Recovery
from app.jobs.store import JobStore
from app.jobs.transitions import Evidence
from tests.fakes.mongo import fake_mongo
from tests.job_builders import NO_LIMITS, NOON, OTHER_TENANT, REDISPATCH, SECOND, TENANT, FakeClock, Recorder, a_new_job
from tests.processes import Server

NO_WEIGHTS: Mapping[str, float] = MappingProxyType({})
LONG = timedelta(seconds=30)


@pytest.fixture(params=["fake", "embedded"])
async def database(request: pytest.FixtureRequest) -> AsyncIterator[Database]:
    if request.param == "fake":
        yield fake_mongo()["tests"]
        return
    store: Server = request.getfixturevalue("store")
    client: AsyncMongoClient[dict[str, Any]] = AsyncMongoClient(store.mongo_uri, tz_aware=True)
    found = client[f"dispatch_{uuid4().hex}"]
    await ensure_indexes(found, job_recovery.indexes("jobs"))
    yield found
    await client.close()


@dataclass(slots=True)
class Fleet:
    """A store of jobs and the workers that share it."""

    database: Database
    clock: FakeClock
    bell: Recorder
    store: JobStore
    numbers: "itertools.count[int]"

    @classmethod
    def over(cls, database: Database) -> "Fleet":
        clock = FakeClock()
        store = JobStore(Documents(database["jobs"]), clock=clock, redispatch=REDISPATCH)
        return cls(database, clock, Recorder(), store, itertools.count())

    def worker(self, *, limits: Limits = NO_LIMITS, weights: Mapping[str, float] = NO_WEIGHTS) -> Dispatcher:
        jobs = Documents(self.database["jobs"])
        return Dispatcher(
            self.store,
            JobQueue(jobs, clock=self.clock, redispatch=REDISPATCH),
            Permits(Documents(self.database["permits"]), jobs, clock=self.clock, patience=10 * SECOND),
            order=FairOrder(weights),
            limits=limits,
            agent_of=lambda document: document.get("agent"),
            ring=self.bell.ring,
            clock=self.clock,
            monotonic=lambda: (self.clock() - NOON).total_seconds(),
        )

    async def add(self, number: int, *, tenant: str = TENANT, priority: int = 5, **fields: Any) -> list[str]:
        ids = [f"{tenant}-{next(self.numbers):04}" for _ in range(number)]
        for job_id in ids:
            await self.store.enqueue(a_new_job(job_id, tenant_id=tenant, priority=priority, fields=fields))
            self.clock.advance(timedelta(milliseconds=1))
        return ids

    async def finish(self, worker: Dispatcher, taken: Taken) -> None:
        await self.store.settle(taken.job, Finished(), Evidence())
        await worker.give_back(taken.job, taken.permits)


@pytest.fixture
def fleet(database: Database) -> Fleet:
    return Fleet.over(database)


def tenants(taken: list[Taken]) -> Counter[str]:
    return Counter(one.job.tenant_id for one in taken)


async def take_all(worker: Dispatcher, bells: list[str]) -> list[Taken]:
    answers = [await worker.take(job_id, worker="w1") for job_id in bells]
    return [taken for taken in answers if taken is not None]


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
        await worker.admit(late.job, "Slow")
    await fleet.store.settle(late.job, Deferred(refused.value.permit), Evidence())
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
    survivor = fleet.worker(limits=limits)
    await survivor.heal()

    assert fleet.bell.rung == [second]
    assert [taken.job.id for taken in await take_all(survivor, [second])] == [second]


async def test_permits_of_running_jobs_are_left_alone(fleet: Fleet) -> None:
    first, second = await fleet.add(2)
    worker = fleet.worker(limits=Limits(tenants={TENANT: 1}))
    await take_all(worker, [first, second])

    fleet.clock.advance(LONG)
    await worker.heal()

    assert fleet.bell.rung == []


async def test_jobs_parked_for_a_limit_that_is_no_more_are_started(fleet: Fleet) -> None:
    bells = await fleet.add(5)
    await take_all(fleet.worker(limits=Limits(tenants={TENANT: 1})), bells)

    await fleet.worker().heal()

    assert fleet.bell.rung == bells[1:]


async def test_a_parked_job_is_not_rung_for_by_the_sweep(fleet: Fleet) -> None:
    bells = await fleet.add(2)
    await take_all(fleet.worker(limits=Limits(tenants={TENANT: 1})), bells)
    recovery = Recovery(Documents(fleet.database["jobs"]), clock=fleet.clock, redispatch=REDISPATCH)

    fleet.clock.advance(timedelta(minutes=10))

    assert await recovery.list_due() == []
    assert await recovery.list_silent() == []
    assert await recovery.count_startable(limit=10) == 0


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
