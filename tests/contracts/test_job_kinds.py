"""Several collections of jobs that share workers, permits and a queue of messages."""

from dataclasses import dataclass
from typing import Any

import pytest

from app.database.documents import Database, Documents
from app.jobs.dispatch import Dispatcher, Taken
from app.jobs.limits import Limit, Limits
from app.jobs.models import Status
from app.jobs.outcomes import Finished
from app.jobs.parking import Lot, Parking
from app.jobs.permits import COLLECTION, OLDEST_KIND, Permits
from app.jobs.queue import JobQueue
from app.jobs.recovery import Recovery
from app.jobs.store import JobStore
from app.jobs.sweeper import Sweeper
from app.jobs.transitions import Evidence
from app.jobs.workers import SYSTEM_TENANT, WorkerDirectory, WorkerIdentity, registration
from tests.contracts.job_fleet import LONG, Fleet
from tests.job_builders import LEASE, REDISPATCH, SECOND, TENANT, FakeClock, Recorder, a_new_job, a_policy

STEPS = "steps"
KINDS = (OLDEST_KIND, STEPS)
ONE_SLOW = Limits(agents={"Slow": 1})


@dataclass(slots=True)
class Kinds:
    """Tasks and steps in one store, each with a bell; all workers do both."""

    database: Database
    clock: FakeClock
    bells: dict[str, Recorder]
    waiting_messages: int | None = 0

    def documents(self, kind: str) -> Documents:
        return Documents(self.database[kind])

    def store(self, kind: str) -> JobStore:
        return JobStore(self.documents(kind), clock=self.clock, redispatch=REDISPATCH)

    def recovery(self, kind: str) -> Recovery:
        return Recovery(self.documents(kind), clock=self.clock, redispatch=REDISPATCH)

    def queue(self, kind: str) -> JobQueue:
        return JobQueue(self.documents(kind), clock=self.clock, redispatch=REDISPATCH)

    def permits(self) -> Permits:
        jobs = {kind: self.documents(kind) for kind in KINDS}
        return Permits(Documents(self.database[COLLECTION]), jobs, clock=self.clock, patience=10 * SECOND)

    def parking(self, limits: Limits = ONE_SLOW) -> Parking:
        return Parking(self.permits(), [Lot(self.queue(kind), self.bells[kind].ring) for kind in KINDS], limits=limits)

    def dispatcher(self, kind: str, limits: Limits = ONE_SLOW) -> Dispatcher:
        return Dispatcher(
            self.store(kind),
            self.queue(kind),
            self.permits(),
            self.parking(limits),
            kind=kind,
            weights={},
            limits=limits,
            agent_of=lambda document: document.get("agent"),
            ring=self.bells[kind].ring,
            clock=self.clock,
        )

    def sweeper(self, kind: str) -> Sweeper:
        others = [self.recovery(other) for other in KINDS if other != kind]
        return Sweeper(
            self.recovery(kind),
            self.workers,
            policy_of=a_policy,
            lease=LEASE,
            clock=self.clock,
            interval=SECOND,
            ring=self.bells[kind].ring,
            remind=lambda job, at: None,
            measure_depth=self.measure_depth,
            broker_answers=lambda: True,
            on_change=lambda job_id: None,
            others=others,
            sharing=others,
        )

    @property
    def workers(self) -> WorkerDirectory:
        return WorkerDirectory(Documents(self.database["workers"]), clock=self.clock)

    async def measure_depth(self) -> int | None:
        return self.waiting_messages

    async def add(self, kind: str, job_id: str, **changes: Any) -> str:
        await self.store(kind).enqueue(a_new_job(job_id, fields={"agent": "Slow"}, **changes))
        return job_id

    async def take(self, kind: str, job_id: str) -> Taken | None:
        return await self.dispatcher(kind).take(job_id, worker="w1")

    async def start_worker(self) -> None:
        identity = WorkerIdentity("w1", "host", 1, ("agent_tasks",), 10, "1")
        await Documents(self.database["workers"]).insert(registration(identity, now=self.clock(), lease=LEASE))


@pytest.fixture
def kinds(fleet: Fleet) -> Kinds:
    return Kinds(fleet.database, fleet.clock, {kind: Recorder() for kind in KINDS})


async def test_the_limit_of_an_agent_counts_tasks_and_steps_together(kinds: Kinds) -> None:
    task, step = await kinds.add(OLDEST_KIND, "task-1"), await kinds.add(STEPS, "step-1")

    assert await kinds.take(OLDEST_KIND, task) is not None
    assert await kinds.take(STEPS, step) is None


async def test_a_task_that_ends_lets_a_step_go_on_that_waits_for_its_agent(kinds: Kinds) -> None:
    task, step = await kinds.add(OLDEST_KIND, "task-1"), await kinds.add(STEPS, "step-1")
    taken = await kinds.take(OLDEST_KIND, task)
    assert taken is not None
    await kinds.take(STEPS, step)

    await kinds.store(OLDEST_KIND).settle(taken.job, Finished(), Evidence())
    await kinds.dispatcher(OLDEST_KIND).give_back(taken.job, taken.permits)

    assert (kinds.bells[OLDEST_KIND].rung, kinds.bells[STEPS].rung) == ([], [step])
    assert await kinds.take(STEPS, step) is not None


async def test_collections_take_turns_at_a_permit(kinds: Kinds) -> None:
    for number in range(3):
        for kind in KINDS:
            await kinds.take(kind, await kinds.add(kind, f"{kind}-{number}"))
    parking = kinds.parking(Limits(agents={"Slow": 3}))

    started = await parking.start_waiting("agent:Slow")

    assert started == 2
    assert [len(kinds.bells[kind].rung) for kind in KINDS] == [1, 1]


async def test_a_running_steps_permit_is_not_taken_back_and_a_dead_ones_is(kinds: Kinds) -> None:
    taken = await kinds.take(STEPS, await kinds.add(STEPS, "step-1"))
    assert taken is not None
    task = await kinds.add(OLDEST_KIND, "task-1")
    await kinds.take(OLDEST_KIND, task)
    kinds.clock.advance(LONG)

    await kinds.parking().heal()
    while_it_ran = list(kinds.bells[OLDEST_KIND].rung)
    await kinds.store(STEPS).settle(taken.job, Finished(), Evidence())
    kinds.clock.advance(LONG)
    await kinds.parking().heal()

    assert (while_it_ran, kinds.bells[OLDEST_KIND].rung) == ([], [task])


async def test_a_holder_of_before_there_were_kinds_is_a_task(kinds: Kinds) -> None:
    await kinds.add(OLDEST_KIND, "job-1")
    claimed = await kinds.store(OLDEST_KIND).claim("job-1", worker="w1")
    assert claimed is not None
    assert claimed.lease is not None
    held = {"token": claimed.lease.token, "job_id": "job-1", "at": kinds.clock()}
    document = {"_id": "agent:Slow", "tenant_id": SYSTEM_TENANT, "held": 1, "holders": [held]}
    await Documents(kinds.database[COLLECTION]).insert(document)
    kinds.clock.advance(LONG)

    assert await kinds.permits().list_stale() == []
    await kinds.store(OLDEST_KIND).settle(claimed, Finished(), Evidence())
    kinds.clock.advance(LONG)
    assert [holder.kind for holder in await kinds.permits().list_stale()] == [OLDEST_KIND]


async def test_the_same_id_in_another_collection_keeps_no_permit_alive(kinds: Kinds) -> None:
    claimed = await kinds.store(OLDEST_KIND).claim(await kinds.add(OLDEST_KIND, "job-1"), worker="w1")
    assert claimed is not None
    assert claimed.lease is not None
    for kind in KINDS:
        await kinds.permits().acquire(Limit("agent:Slow", 2), kind=kind, token=claimed.lease.token, job_id="job-1")
    kinds.clock.advance(LONG)

    assert [holder.kind for holder in await kinds.permits().list_stale()] == [STEPS]


@pytest.mark.parametrize("order", [KINDS, KINDS[::-1]])
async def test_a_dead_worker_is_forgotten_once_its_jobs_of_every_kind_are_released(
    kinds: Kinds, order: tuple[str, ...]
) -> None:
    await kinds.start_worker()
    for kind in KINDS:
        assert await kinds.store(kind).claim(await kinds.add(kind, f"{kind}-1"), worker="w1") is not None
    kinds.clock.advance(LEASE + SECOND)

    await kinds.sweeper(order[0]).sweep()
    known_between = await kinds.workers.list_known()
    await kinds.sweeper(order[1]).sweep()

    assert (known_between, await kinds.workers.list_known()) == (["w1"], [])
    statuses = [(await kinds.store(kind).get(f"{kind}-1")).status for kind in KINDS]
    assert statuses == [Status.QUEUED] * 2


async def test_messages_of_one_kind_are_not_taken_for_those_that_another_lost(kinds: Kinds) -> None:
    for number in range(3):
        await kinds.add(STEPS, f"step-{number}", tenant_id=TENANT)
    lost = await kinds.add(OLDEST_KIND, "task-1")
    kinds.waiting_messages = 3
    kinds.clock.advance(REDISPATCH)

    await kinds.sweeper(OLDEST_KIND).sweep()
    with_three = list(kinds.bells[OLDEST_KIND].rung)
    kinds.waiting_messages = 4
    kinds.clock.advance(LONG)
    await kinds.sweeper(OLDEST_KIND).sweep()

    assert (with_three, kinds.bells[OLDEST_KIND].rung) == ([lost], [lost])
