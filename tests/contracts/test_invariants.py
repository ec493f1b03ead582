"""Each broken promise is found by its own check, and what a healthy system does on its way is not taken for one."""

from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import pytest

from app.bootstrap.verification import build_verifier, healing_time
from app.database.documents import Documents
from app.database.indexes import ensure_indexes
from app.invariants.models import Report
from app.invariants.verifier import Verifier
from app.jobs import workers
from app.jobs.limits import Limit
from app.jobs.models import Job, JobError
from app.jobs.outcomes import Cancelled, Failed, Finished, Outcome, RetryAt, Suspended
from app.jobs.permits import Permits
from app.jobs.recovery import LONGEST_REDISPATCH
from app.jobs.store import JobStore
from app.jobs.transitions import Evidence
from app.jobs.workers import WorkerIdentity, registration
from app.settings import load_settings
from app.tasks.repository import INDEXES
from tests.contracts.store_outcomes import Database
from tests.job_builders import REDISPATCH, SECOND, TENANT, FakeClock, a_new_job

SETTINGS = load_settings(_env_file=None, sweep_sec=0.1, heartbeat_sec=0.1)
HEALING = healing_time(SETTINGS)
LEASE = SETTINGS.lease
LATE = LONGEST_REDISPATCH + 3 * (LEASE + HEALING)
CHECKS = {
    "expired_worker_holds_job",
    "orphaned_job",
    "processing_without_lease",
    "final_with_lease",
    "waiting_with_lease",
    "final_without_completion",
    "stalled_job",
    "timer_not_rung",
    "deadline_missed",
    "cancellation_unheeded",
    "uncounted_job",
    "stranded_permit",
    "wrong_history",
    "step_outlives_execution",
    "step_without_execution",
    "stuck_execution",
    "unheard_step",
    "cost_not_finite",
    "approval_unattended",
}


@dataclass(slots=True)
class System:
    """Jobs and workers in a store, and a clock that only moves when told to."""

    database: Database
    clock: FakeClock

    @property
    def jobs(self) -> JobStore:
        return JobStore(Documents(self.database["tasks"]), clock=self.clock, redispatch=REDISPATCH)

    async def add(self, job_id: str = "job-1", **changes: Any) -> str:
        await self.jobs.enqueue(a_new_job(job_id, **changes))
        return job_id

    async def claim(self, job_id: str = "job-1", *, worker: str = "w1") -> Job:
        job = await self.jobs.claim(await self.add(job_id), worker=worker)
        assert job is not None
        return job

    async def end(self, job_id: str = "job-1") -> None:
        await self.jobs.settle(await self.claim(job_id), Finished(), Evidence())
        await self.break_job(job_id, uncounted=False)

    async def a_home(self) -> dict[str, str]:
        """What a step says of its execution, which has ended."""
        executions = JobStore(Documents(self.database["executions"]), clock=self.clock, redispatch=REDISPATCH)
        await executions.enqueue(a_new_job("home"))
        claimed = await executions.claim("home", worker="w1")
        assert claimed is not None
        await executions.settle(claimed, Finished(), Evidence())
        return {"execution_id": "home", "path": "say"}

    async def break_job(self, job_id: str = "job-1", **fields: Any) -> None:
        await self.database["tasks"].update_one({"_id": job_id}, {"$set": fields})

    async def start_worker(self, worker_id: str = "w1", *, in_flight: int = 0) -> None:
        identity = WorkerIdentity(worker_id, "host", 1, ("agent_tasks",), 10, "1")
        document = registration(identity, now=self.clock(), lease=LEASE) | {"in_flight": in_flight}
        await Documents(self.database[workers.COLLECTION]).insert(document)

    async def keep_alive(self, worker_id: str = "w1") -> None:
        change = {"$set": {"expires_at": self.clock() + LEASE}}
        await self.database[workers.COLLECTION].update_one({"_id": worker_id}, change)

    async def verify(self) -> Report:
        return await self._verifier.verify()

    async def look(self) -> Report:
        """One look, not yet confirmed by another."""
        return await self._verifier._look()

    @property
    def _verifier(self) -> Verifier:
        return build_verifier(SETTINGS, self.database, clock=self.clock)

    async def broken(self) -> dict[str, list[str]]:
        return broken_in(await self.verify())


def broken_in(report: Report) -> dict[str, list[str]]:
    return {one.name: [str(next(iter(job.values()))) for job in one.offenders] for one in report.findings if not one.ok}


@pytest.fixture
async def system(db: Database) -> System:
    await ensure_indexes(db, (*INDEXES, *workers.INDEXES))
    return System(db, FakeClock())


async def test_an_empty_system_breaks_nothing_and_every_check_is_made(system: System) -> None:
    report = await system.verify()

    assert report.ok
    assert {finding.name for finding in report.findings} == CHECKS


async def test_jobs_in_every_state_break_nothing(system: System) -> None:
    await system.start_worker()
    later = system.clock() + timedelta(hours=1)
    await system.add("waiting", deadline_at=later)
    await system.add("timer", not_before=later)
    outcomes: dict[str, Outcome] = {
        "done": Finished(),
        "failed": Failed(JobError("LLM_ERROR", "x")),
        "stopped": Cancelled(),
        "retried": RetryAt(later),
        "suspended": Suspended(),
    }
    for name, outcome in outcomes.items():
        await system.jobs.settle(await system.claim(name), outcome, Evidence())
    await system.claim("running")
    await system.jobs.cancel(TENANT, "running")

    assert await system.broken() == {}


async def test_what_an_expired_worker_holds_is_found_once_a_healthy_system_had_released_it(system: System) -> None:
    await system.start_worker()
    await system.claim()

    system.clock.advance(LEASE + HEALING)
    in_time = await system.broken()
    system.clock.advance(LEASE + SECOND)

    assert in_time == {}
    assert await system.broken() == {"expired_worker_holds_job": ["job-1"]}


async def test_what_an_unknown_worker_holds_is_found_once_a_healthy_system_had_released_it(system: System) -> None:
    await system.claim(worker="nobody")

    system.clock.advance(2 * LEASE + HEALING)
    in_time = await system.broken()
    system.clock.advance(SECOND)

    assert in_time == {}
    assert await system.broken() == {"orphaned_job": ["job-1"]}


async def test_a_job_that_is_worked_on_without_a_lease_is_found(system: System) -> None:
    await system.claim()

    await system.break_job(lease=None)

    assert await system.broken() == {"processing_without_lease": ["job-1"]}


async def test_a_finished_job_with_a_lease_is_found(system: System) -> None:
    await system.end()

    await system.break_job(lease={"token": "t", "worker": "w1"})

    assert await system.broken() == {"final_with_lease": ["job-1"]}


async def test_a_waiting_job_with_a_lease_is_found(system: System) -> None:
    await system.add()

    await system.break_job(lease={"token": "t", "worker": "w1"})

    assert await system.broken() == {"waiting_with_lease": ["job-1"]}


async def test_a_finished_job_that_does_not_say_when_is_found(system: System) -> None:
    await system.end()

    await system.break_job(completed_at=None)

    assert await system.broken() == {"final_without_completion": ["job-1"]}


async def test_a_due_job_that_nobody_starts_is_found_while_a_worker_is_free(system: System) -> None:
    await system.start_worker()
    await system.add()

    system.clock.advance(LONGEST_REDISPATCH)
    await system.keep_alive()
    in_time = await system.broken()
    system.clock.advance(HEALING)
    await system.keep_alive()

    assert in_time == {}
    assert await system.broken() == {"stalled_job": ["job-1"]}


@pytest.mark.parametrize("why", ["all slots are taken", "the worker has just come", "it waits for a permit"])
async def test_a_due_job_that_cannot_be_started_is_not_stalled(system: System, why: str) -> None:
    await system.add()
    if why != "the worker has just come":
        await system.start_worker(in_flight=10 if why == "all slots are taken" else 0)
    if why == "it waits for a permit":
        await system.break_job(lane="~tenant:acme")

    system.clock.advance(LATE)
    if why == "the worker has just come":
        await system.start_worker()
    await system.keep_alive()

    assert await system.broken() == {}


async def test_a_backlog_that_is_worked_off_is_not_stalled(system: System) -> None:
    await system.start_worker()
    for number in range(3):
        await system.add(f"job-{number}")
        system.clock.advance(SECOND)
    system.clock.advance(LATE)
    await system.keep_alive()

    first = await system.look()
    await system.jobs.claim("job-0", worker="w1")
    second = await system.look()

    assert broken_in(first) == {"stalled_job": ["job-0"]}
    assert broken_in(second) == {"stalled_job": ["job-1"]}
    assert broken_in(first.confirmed_by(second)) == {}


async def test_a_timer_that_is_not_rung_is_found(system: System) -> None:
    await system.start_worker()
    await system.add(not_before=system.clock() + SECOND)

    system.clock.advance(LATE)
    await system.keep_alive()

    assert await system.broken() == {"timer_not_rung": ["job-1"]}


async def test_a_deadline_that_nobody_enforces_is_found(system: System) -> None:
    await system.start_worker(in_flight=10)
    await system.add(deadline_at=system.clock() + SECOND)

    system.clock.advance(LATE)
    await system.keep_alive()

    assert await system.broken() == {"deadline_missed": ["job-1"]}


async def test_a_cancellation_that_nobody_heeds_is_found(system: System) -> None:
    await system.start_worker()
    await system.claim()
    await system.jobs.cancel(TENANT, "job-1")

    system.clock.advance(LATE)
    await system.keep_alive()

    assert await system.broken() == {"cancellation_unheeded": ["job-1"]}


async def test_a_finished_job_that_is_not_counted_is_found(system: System) -> None:
    await system.start_worker()
    await system.end()
    await system.break_job(uncounted=True)

    system.clock.advance(60 * SECOND)
    await system.keep_alive()
    in_time = await system.broken()
    system.clock.advance(HEALING)
    await system.keep_alive()

    assert in_time == {}
    assert await system.broken() == {"uncounted_job": ["job-1"]}


@pytest.mark.parametrize("neglected", ["uncounted", "deadline_at"])
async def test_without_a_worker_nobody_is_blamed_for_what_a_worker_would_do(system: System, neglected: str) -> None:
    await system.add()
    values: dict[str, Any] = {"uncounted": True, "deadline_at": system.clock()}
    await system.break_job(**{neglected: values[neglected]})

    system.clock.advance(LATE)

    assert await system.broken() == {}


async def test_a_history_that_does_not_end_with_the_status_is_found(system: System) -> None:
    await system.end("right")
    await system.end("wrong")

    await system.database["tasks"].update_one({"_id": "wrong"}, {"$pop": {"history": 1}})

    assert await system.broken() == {"wrong_history": ["wrong"]}


async def test_more_offenders_than_are_shown_are_told_of(system: System) -> None:
    await system.end("right")
    original = await system.database["tasks"].find_one({"_id": "right"})
    assert original is not None
    wrong = [{**original, "_id": f"job-{number}", "completed_at": None} for number in range(120)]
    await system.database["tasks"].insert_many(wrong)

    report = await system.verify()

    found = next(finding for finding in report.findings if finding.name == "final_without_completion")
    assert len(found.offenders) == 100
    assert found.truncated


async def test_a_permit_that_nobody_who_runs_stands_behind_is_found_once_a_healthy_system_had_taken_it_back(
    system: System,
) -> None:
    await system.start_worker()
    held = Permits(
        Documents(system.database["permits"]),
        {"tasks": Documents(system.database["tasks"])},
        clock=system.clock,
        patience=SECOND,
    )
    limit = Limit("tenant:acme", 1)
    running = await system.claim("running")
    assert running.lease is not None
    await held.acquire(limit, kind="tasks", token="of a claim that never came", job_id="gone")
    await held.acquire(Limit("agent:code", 1), kind="tasks", token=running.lease.token, job_id=running.id)

    in_time = await system.broken()
    system.clock.advance(LATE)
    await system.keep_alive()

    assert in_time == {}
    assert await system.broken() == {"stranded_permit": ["gone"]}


@pytest.mark.parametrize(
    ("kind", "id_name"), [("tasks", "task_id"), ("executions", "execution_id"), ("steps", "step_id")]
)
async def test_a_broken_promise_is_found_in_every_collection_of_jobs(system: System, kind: str, id_name: str) -> None:
    store = JobStore(Documents(system.database[kind]), clock=system.clock, redispatch=REDISPATCH)
    await store.enqueue(a_new_job(fields=await system.a_home()))
    await system.database[kind].update_one({"_id": "job-1"}, {"$set": {"status": "processing"}})

    found = {one.name: one.offenders for one in (await system.verify()).findings if not one.ok}

    assert found.keys() == {"processing_without_lease", "wrong_history"}
    assert [offender[id_name] for offenders in found.values() for offender in offenders] == ["job-1"] * 2


@pytest.mark.parametrize(
    ("kind", "broken"), [("tasks", {"wrong_history": ["job-1"]}), ("executions", {}), ("steps", {})]
)
async def test_what_is_driven_may_be_woken_and_concluded_at_once_and_lose_old_history(
    system: System, kind: str, broken: dict[str, list[str]]
) -> None:
    jobs = JobStore(Documents(system.database[kind]), clock=system.clock, redispatch=REDISPATCH, history_limit=3)
    await jobs.enqueue(a_new_job(fields=await system.a_home()))
    claimed = await jobs.claim("job-1", worker="w1")
    assert claimed is not None
    await jobs.settle(claimed, Suspended(), Evidence())
    woken = await jobs.claim_suspended("job-1", worker="w1")
    assert woken is not None
    await jobs.settle(woken, RetryAt(system.clock()), Evidence())
    await jobs.conclude(TENANT, "job-1", where={}, outcome=Finished(), fields={})

    assert await system.broken() == broken


async def test_a_step_that_consumed_nothing_is_not_missed_in_the_totals(system: System) -> None:
    await system.start_worker()
    steps = JobStore(Documents(system.database["steps"]), clock=system.clock, redispatch=REDISPATCH)
    await steps.enqueue(a_new_job(fields=await system.a_home()))
    await steps.conclude(TENANT, "job-1", where={}, outcome=Finished(), fields={})

    system.clock.advance(LATE)
    await system.keep_alive()

    assert await system.broken() == {}
