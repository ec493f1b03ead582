"""What executions and their steps promise each other: each broken promise is found by its own check."""

from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import pytest

from app.bootstrap.verification import build_verifier, healing_time
from app.database.documents import Documents
from app.database.indexes import ensure_indexes
from app.jobs import recovery, workers
from app.jobs.workers import WorkerIdentity, registration
from app.metrics.rollups import UNCHARGED
from app.settings import load_settings
from app.workflows.executions import journal, repository
from app.workflows.executions.models import EXECUTIONS, STEPS
from app.workflows.executions.upkeep import PATIENCE
from tests.contracts.store_outcomes import Database
from tests.execution_builders import a_step, an_execution
from tests.job_builders import NOON, SECOND, FakeClock

SETTINGS = load_settings(_env_file=None, sweep_sec=0.1, heartbeat_sec=0.1)
HEALING = healing_time(SETTINGS)
RELEASE = SETTINGS.lease + HEALING
ASIDE: dict[str, Any] = {"status": "awaiting_approval", "begun_at": NOON}
OF_EXECUTIONS = {
    "step_outlives_execution",
    "step_without_execution",
    "stuck_execution",
    "unheard_step",
    "cost_not_finite",
    "uncounted_job",
}


@dataclass(slots=True)
class System:
    """A worker that lives for ever, and a clock that only moves when told to."""

    database: Database
    clock: FakeClock

    async def execution(self, **changes: Any) -> str:
        execution = an_execution(**changes)
        await Documents(self.database[EXECUTIONS]).insert(dict(execution.document))
        return execution.id

    async def step(self, execution_id: str, **changes: Any) -> str:
        step = a_step(execution_id=execution_id, **changes)
        await Documents(self.database[STEPS]).insert(step)
        return str(step["_id"])

    async def broken(self, *, after: timedelta) -> dict[str, list[str]]:
        """Of the promises of executions, by check, the offenders' ids."""
        self.clock.advance(after)
        report = await build_verifier(SETTINGS, self.database, clock=self.clock)._look()
        return {
            one.name: [str(next(iter(offender.values()))) for offender in one.offenders]
            for one in report.findings
            if not one.ok and one.name in OF_EXECUTIONS
        }


@pytest.fixture
async def system(db: Database) -> System:
    of_jobs = (*recovery.indexes(EXECUTIONS), *recovery.indexes(STEPS))
    await ensure_indexes(db, (*of_jobs, *repository.INDEXES, *journal.INDEXES, *workers.INDEXES))
    clock = FakeClock()
    identity = WorkerIdentity("w1", "host", 1, ("workflow_steps",), 10, "1")
    document = registration(identity, now=clock(), lease=timedelta(days=365))
    await Documents(db[workers.COLLECTION]).insert(document)
    return System(db, clock)


async def test_executions_in_every_state_break_nothing(system: System) -> None:
    ends = {"completed_at": NOON, "attempt": 1, "ended_seq": 2, "heard": True}
    await system.step(await system.execution(status="processing"), status="processing")
    await system.step(await system.execution(**ASIDE, idle_for="waiting"), waits_for={"what": "event"})
    await system.execution(**ASIDE, paused_at=NOON)
    await system.step(await system.execution(), status="completed", **{**ends, "ended_seq": None, "heard": False})
    for status in ("completed", "failed", "cancelled"):
        over = await system.execution(status=status, completed_at=NOON)
        await system.step(over, status=status, **ends)

    assert await system.broken(after=2 * RELEASE) == {}


async def test_a_step_that_outlives_its_execution_is_found_once_it_should_have_been_cancelled(system: System) -> None:
    over = await system.execution(status="failed", completed_at=NOON)
    step = await system.step(over)

    in_time = await system.broken(after=RELEASE - SECOND)

    assert in_time == {}
    assert await system.broken(after=2 * SECOND) == {"step_outlives_execution": [step]}


@pytest.mark.parametrize("status", ["queued", "processing", "completed"])
async def test_a_step_without_an_execution_is_found(system: System, status: str) -> None:
    fields = {"completed_at": NOON, "ended_seq": 2, "heard": True} if status == "completed" else {}
    step = await system.step("22222222-2222-4333-8444-555555555555", status=status, **fields)

    assert await system.broken(after=SECOND) == {"step_without_execution": [step]}


async def test_an_execution_that_is_put_aside_with_nothing_to_wait_for_is_found(system: System) -> None:
    stuck = await system.execution(**ASIDE)
    await system.step(stuck, status="completed", completed_at=NOON, ended_seq=2, heard=True)

    in_time = await system.broken(after=HEALING - SECOND)

    assert in_time == {}
    assert await system.broken(after=RELEASE) == {"stuck_execution": [stuck]}


async def test_an_end_of_which_a_sleeping_execution_never_heard_is_found(system: System) -> None:
    asleep = await system.execution(**ASIDE)
    step = await system.step(asleep, status="completed", completed_at=NOON)

    in_time = await system.broken(after=PATIENCE + HEALING - SECOND)

    assert in_time == {}
    assert await system.broken(after=RELEASE) == {"unheard_step": [step]}


@pytest.mark.parametrize("usd", [float("nan"), float("inf"), -0.5, "12"])
async def test_a_cost_that_is_no_amount_is_found(system: System, usd: object) -> None:
    costly = await system.execution(cost={"usd": usd, "model_calls": 1})

    assert await system.broken(after=SECOND) == {"cost_not_finite": [costly]}


async def test_what_a_step_consumed_and_nobody_charged_is_found(system: System) -> None:
    step = await system.step(await system.execution(status="processing"), status="processing", **{UNCHARGED: True})

    in_time = await system.broken(after=timedelta(minutes=1))

    assert in_time == {}
    assert await system.broken(after=RELEASE) == {"uncounted_job": [step]}
