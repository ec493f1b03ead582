"""The sweep heals what was lost, and doing it twice or in two places at once changes nothing."""

import asyncio
from datetime import datetime, timedelta

import pytest

from app.database.documents import Database, Documents
from app.jobs.models import JobError, Reason, Status
from app.jobs.outcomes import RetryAt, Suspended
from app.jobs.recovery import Recovery
from app.jobs.store import JobStore
from app.jobs.sweeper import EVIDENT, Sweeper
from app.jobs.transitions import Evidence
from app.jobs.workers import WorkerDirectory, WorkerIdentity, registration, renewal
from tests.job_builders import LEASE, NOON, REDISPATCH, SECOND, TENANT, FakeClock, Recorder, a_new_job, a_policy


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
def reminded() -> list[tuple[str, datetime]]:
    return []


@pytest.fixture
def sweeper(
    recovery: Recovery,
    workers: WorkerDirectory,
    bell: Recorder,
    queue: Queue,
    clock: FakeClock,
    changes: list[str],
    reminded: list[tuple[str, datetime]],
) -> Sweeper:
    return Sweeper(
        recovery,
        workers,
        policy_of=a_policy,
        lease=LEASE,
        clock=clock,
        interval=SECOND,
        ring=bell.ring,
        remind=lambda job, at: reminded.append((job.id, at)),
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


@pytest.mark.parametrize("is_suspended", [False, True], ids=["for a worker", "for somebody"])
async def test_a_job_that_waited_past_its_deadline_fails(
    jobs: JobStore, sweeper: Sweeper, clock: FakeClock, is_suspended: bool
) -> None:
    await jobs.enqueue(a_new_job(deadline_at=clock() + SECOND))
    if is_suspended and (job := await jobs.claim("job-1", worker="w1")):
        await jobs.settle(job, Suspended(), Evidence())
    clock.advance(2 * SECOND)

    await sweeper.sweep()

    job = await jobs.get("job-1")
    assert job.status is Status.FAILED
    assert job.document["history"][-1]["reason"] == Reason.DEADLINE_EXCEEDED
    assert any(entry["reason"] == Reason.SUSPENDED for entry in job.document["history"]) is is_suspended


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


async def lose(jobs: JobStore, sweeper: Sweeper, clock: FakeClock, *job_ids: str) -> None:
    """One attempt at each of the jobs, all by the same worker, which dies."""
    for job_id in job_ids:
        assert await jobs.claim(job_id, worker="gone")
    clock.advance(LEASE + SECOND)
    await sweeper.sweep()
    clock.advance(10 * SECOND)


async def test_a_job_that_loses_every_worker_alone_ends_in_the_dead_letter_after_its_attempts(
    jobs: JobStore, sweeper: Sweeper, clock: FakeClock
) -> None:
    await jobs.enqueue(a_new_job(max_attempts=2))

    await lose(jobs, sweeper, clock, "job-1")
    await lose(jobs, sweeper, clock, "job-1")

    job = await jobs.get("job-1")
    assert (job.status, job.attempt) == (Status.FAILED, 2)
    assert job.error is not None
    assert job.error.type == "WORKER_LOST"


async def test_the_neighbours_of_a_job_that_kills_its_workers_get_an_attempt_apart_from_it(
    jobs: JobStore, sweeper: Sweeper, clock: FakeClock
) -> None:
    for job_id in ("poison", "neighbour"):
        await jobs.enqueue(a_new_job(job_id, max_attempts=2))

    await lose(jobs, sweeper, clock, "poison", "neighbour")
    await lose(jobs, sweeper, clock, "poison", "neighbour")

    suspects = [await jobs.get(job_id) for job_id in ("poison", "neighbour")]
    assert [(job.status, job.attempt, job.alone) for job in suspects] == [(Status.QUEUED, 1, True)] * 2
    await lose(jobs, sweeper, clock, "poison")
    assert (await jobs.get("poison")).status is Status.FAILED
    assert (await jobs.get("neighbour")).status is Status.QUEUED


async def test_an_attempt_apart_is_given_once_only(jobs: JobStore, sweeper: Sweeper, clock: FakeClock) -> None:
    for job_id in ("poison", "other"):
        await jobs.enqueue(a_new_job(job_id, max_attempts=1))

    await lose(jobs, sweeper, clock, "poison", "other")
    await lose(jobs, sweeper, clock, "poison", "other")

    assert [(await jobs.get(job_id)).status for job_id in ("poison", "other")] == [Status.FAILED] * 2


async def test_what_becomes_due_before_the_next_sweep_is_rung_for_on_time(
    jobs: JobStore, sweeper: Sweeper, bell: Recorder, reminded: list[tuple[str, datetime]]
) -> None:
    soon, later = NOON + 0.4 * SECOND, NOON + 5 * SECOND
    await jobs.enqueue(a_new_job("soon", not_before=soon))
    await jobs.enqueue(a_new_job("later", not_before=later))

    await sweeper.sweep()

    assert reminded == [("soon", soon)]
    assert bell.rung == []


async def test_the_timers_of_a_sweep_that_evidently_does_not_take_place_are_rung_for_by_who_stands_by(
    jobs: JobStore, sweeper: Sweeper, bell: Recorder, clock: FakeClock, reminded: list[tuple[str, datetime]]
) -> None:
    overdue, soon = NOON + SECOND, NOON + 2 * SECOND
    await jobs.enqueue(a_new_job("overdue", not_before=overdue))
    await jobs.enqueue(a_new_job("soon", not_before=soon))

    clock.advance(SECOND + EVIDENT)
    rung = [await sweeper.stand_in() for _ in range(2)]

    assert (rung, bell.rung) == ([1, 0], ["overdue"])
    assert reminded == [("soon", soon)]


async def test_who_stands_by_leaves_timers_to_a_sweep_that_may_still_be_on_its_way(
    jobs: JobStore, sweeper: Sweeper, bell: Recorder, clock: FakeClock, reminded: list[tuple[str, datetime]]
) -> None:
    await jobs.enqueue(a_new_job(not_before=NOON + SECOND))

    clock.advance(SECOND + EVIDENT / 2)

    assert await sweeper.stand_in() == 0
    assert (bell.rung, reminded) == ([], [])


async def test_neighbours_of_a_job_are_known_as_such_to_a_sweep_after_one_that_died_half_way(
    database: Database, jobs: JobStore, sweeper: Sweeper, recovery: Recovery, clock: FakeClock
) -> None:
    await start_worker(database, clock)
    for job_id in ("poison", "neighbour"):
        await jobs.enqueue(a_new_job(job_id, max_attempts=1))
        await jobs.claim(job_id, worker="w1")
    await Documents(database["workers"]).update_one({"_id": "w1"}, renewal(in_flight=2, now=clock(), lease=LEASE))
    clock.advance(LEASE + SECOND)
    await recovery.release(await jobs.get("poison"), RetryAt(clock()))

    await sweeper.sweep()

    neighbour = await jobs.get("neighbour")
    assert (neighbour.status, neighbour.alone) == (Status.QUEUED, True)
