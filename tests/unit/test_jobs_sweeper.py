"""The sweep heals what was lost, and doing it twice or in two places at once changes nothing."""

import asyncio
from datetime import timedelta

import pytest

from app.database.documents import Database, Documents
from app.jobs.lock import StoreLock
from app.jobs.models import JobError, Reason, Status
from app.jobs.outcomes import RetryAt
from app.jobs.recovery import Recovery
from app.jobs.retry import Backoff
from app.jobs.store import JobStore
from app.jobs.sweeper import Sweeper
from app.jobs.transitions import Evidence
from app.jobs.workers import WorkerDirectory, WorkerIdentity, registration
from tests.job_builders import LEASE, REDISPATCH, SECOND, TENANT, FakeClock, Recorder, a_new_job


class Queue:
    """How many messages the broker says it has."""

    def __init__(self) -> None:
        self.length: int | None = 0
        self.answers = True

    async def measure(self) -> int | None:
        return self.length


@pytest.fixture
def queue() -> Queue:
    return Queue()


@pytest.fixture
def sweeper(
    recovery: Recovery, workers: WorkerDirectory, bell: Recorder, queue: Queue, clock: FakeClock, changes: list[str]
) -> Sweeper:
    return Sweeper(
        recovery,
        workers,
        backoff=Backoff(initial=SECOND, maximum=60 * SECOND),
        lease=LEASE,
        clock=clock,
        ring=bell.ring,
        measure_depth=queue.measure,
        broker_answers=lambda: queue.answers,
        on_change=changes.append,
    )


async def start_worker(database: Database, clock: FakeClock, worker_id: str = "w1") -> None:
    identity = WorkerIdentity(worker_id, "host", 1, ("agent_tasks",), 10, "1")
    await Documents(database["workers"]).insert(registration(identity, now=clock(), lease=LEASE))


async def test_a_job_whose_message_was_lost_is_rung_again(
    jobs: JobStore, sweeper: Sweeper, bell: Recorder, clock: FakeClock
) -> None:
    await jobs.enqueue(a_new_job())

    await sweeper.sweep()
    too_early = list(bell.rung)
    clock.advance(REDISPATCH)
    await sweeper.sweep()

    assert too_early == []
    assert bell.rung == ["job-1"]


async def test_the_pause_between_rings_doubles(
    jobs: JobStore, sweeper: Sweeper, bell: Recorder, clock: FakeClock
) -> None:
    await jobs.enqueue(a_new_job())
    rung_at: list[int] = []

    for second in range(1, 64):
        clock.advance(SECOND)
        await sweeper.sweep()
        if len(bell.rung) > len(rung_at):
            rung_at.append(second)

    assert rung_at == [8, 24, 56]


async def test_a_job_behind_a_long_queue_is_not_rung_again(
    jobs: JobStore, sweeper: Sweeper, bell: Recorder, queue: Queue, clock: FakeClock
) -> None:
    await jobs.enqueue(a_new_job())
    queue.length = 1
    clock.advance(REDISPATCH)

    await sweeper.sweep()

    assert bell.rung == []


async def test_a_broker_that_is_away_does_not_lengthen_the_pauses(
    jobs: JobStore, sweeper: Sweeper, bell: Recorder, queue: Queue, clock: FakeClock
) -> None:
    await jobs.enqueue(a_new_job())
    queue.length, queue.answers = None, False
    clock.advance(120 * SECOND)

    await sweeper.sweep()
    while_away = list(bell.rung)
    queue.length, queue.answers = 0, True
    await sweeper.sweep()

    assert while_away == []
    assert bell.rung == ["job-1"]


async def test_a_timer_rings_when_it_is_due_however_long_the_queue_is(
    jobs: JobStore, sweeper: Sweeper, bell: Recorder, queue: Queue, clock: FakeClock
) -> None:
    await jobs.enqueue(a_new_job(not_before=clock() + 30 * SECOND))
    queue.length = 100

    await sweeper.sweep()
    early = list(bell.rung)
    clock.advance(30 * SECOND)
    await sweeper.sweep()
    await sweeper.sweep()

    assert early == []
    assert bell.rung == ["job-1"]


async def test_two_sweeps_at_once_ring_once(jobs: JobStore, sweeper: Sweeper, bell: Recorder, clock: FakeClock) -> None:
    await jobs.enqueue(a_new_job())
    clock.advance(REDISPATCH)

    await asyncio.gather(sweeper.sweep(), sweeper.sweep(), sweeper.sweep())

    assert bell.rung == ["job-1"]


async def test_the_jobs_of_a_dead_worker_are_released(
    database: Database, jobs: JobStore, sweeper: Sweeper, workers: WorkerDirectory, clock: FakeClock
) -> None:
    await start_worker(database, clock)
    await jobs.enqueue(a_new_job())
    await jobs.claim("job-1", worker="w1")

    await sweeper.sweep()
    while_alive = (await jobs.get("job-1")).status
    clock.advance(LEASE)
    await sweeper.sweep()

    released = await jobs.get("job-1")
    assert while_alive is Status.PROCESSING
    assert (released.status, released.attempt, released.lease) == (Status.QUEUED, 1, None)
    assert await workers.list_known() == []


async def test_a_job_held_by_a_worker_nobody_knows_is_released(
    jobs: JobStore, sweeper: Sweeper, clock: FakeClock
) -> None:
    await jobs.enqueue(a_new_job())
    await jobs.claim("job-1", worker="ghost")
    clock.advance(LEASE + SECOND)

    await sweeper.sweep()

    assert (await jobs.get("job-1")).status is Status.QUEUED


async def test_a_job_that_kills_every_worker_ends_in_the_dead_letter(
    jobs: JobStore, sweeper: Sweeper, clock: FakeClock, changes: list[str]
) -> None:
    await jobs.enqueue(a_new_job(max_attempts=2))

    for _ in range(2):
        await jobs.claim("job-1", worker="ghost")
        clock.advance(LEASE + SECOND)
        await sweeper.sweep()
        clock.advance(timedelta(minutes=2))

    job = await jobs.get("job-1")
    assert job.status is Status.FAILED
    assert job.error is not None
    assert job.error.type == "WORKER_LOST"
    assert changes == ["job-1", "job-1"]


async def test_a_job_that_was_to_be_cancelled_is_cancelled_when_its_worker_dies(
    jobs: JobStore, sweeper: Sweeper, clock: FakeClock
) -> None:
    await jobs.enqueue(a_new_job())
    await jobs.claim("job-1", worker="ghost")
    await jobs.cancel(TENANT, "job-1")
    clock.advance(LEASE + SECOND)

    await sweeper.sweep()

    assert (await jobs.get("job-1")).status is Status.CANCELLED


async def test_a_cancel_that_met_a_requeue_is_still_heeded(jobs: JobStore, sweeper: Sweeper, clock: FakeClock) -> None:
    await jobs.enqueue(a_new_job())
    job = await jobs.claim("job-1", worker="w1")
    assert job is not None
    await jobs.cancel(TENANT, "job-1")
    await jobs.settle(job, RetryAt(clock() + 60 * SECOND, JobError("LLM_ERROR", "x")), Evidence())

    await sweeper.sweep()

    assert (await jobs.get("job-1")).status is Status.CANCELLED


async def test_a_job_that_waited_past_its_deadline_fails(jobs: JobStore, sweeper: Sweeper, clock: FakeClock) -> None:
    await jobs.enqueue(a_new_job(deadline_at=clock() + SECOND))
    clock.advance(2 * SECOND)

    await sweeper.sweep()

    job = await jobs.get("job-1")
    assert job.status is Status.FAILED
    assert job.document["history"][-1]["reason"] == Reason.DEADLINE_EXCEEDED


async def test_a_retry_after_the_deadline_was_seen_is_not_failed_by_it(
    jobs: JobStore, recovery: Recovery, clock: FakeClock
) -> None:
    await jobs.enqueue(a_new_job(deadline_at=clock() + SECOND))
    clock.advance(2 * SECOND)
    (overdue,) = await recovery.list_overdue()
    await jobs.cancel(TENANT, "job-1")
    await jobs.retry(TENANT, "job-1", reset={}, request="r1")

    failed = await recovery.fail_overdue(overdue)

    assert not failed
    assert (await jobs.get("job-1")).status is Status.QUEUED


async def test_one_of_many_processes_holds_the_lock_until_it_stops_renewing(
    database: Database, clock: FakeClock
) -> None:
    locks = [StoreLock(Documents(database["locks"]), "upkeep", holder=name, lease=LEASE, clock=clock) for name in "abc"]

    at_first = [await lock.acquire() for lock in locks]
    clock.advance(LEASE)
    later = [await lock.acquire() for lock in reversed(locks)]
    await locks[2].release()

    assert at_first == [True, False, False]
    assert later == [True, False, False]
    assert await locks[0].acquire()
