"""Old executions go with all that belongs to them; what is younger, or is needed by anybody, stays whole."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from app.artifacts.evidence import DIGESTS
from app.artifacts.places import Part, place_of
from app.artifacts.store import ArtifactStore
from app.database.documents import Documents
from app.database.errors import StoreUnavailable
from app.database.indexes import ensure_indexes
from app.ids import new_id
from app.jobs.models import Status
from app.jobs.retention import EXPIRED_TENANT, PAUSE, DeleteBelongings, ExpiredJob, Retention, Rule, by_task_id
from app.jobs.store import JobStore
from app.metrics.rollups import UNCHARGED
from app.tasks.artifacts import delete_artifacts_of
from app.workflows.executions import journal, repository, retention
from app.workflows.executions.retention import (
    ExecutionRetention,
    by_execution_id,
    delete_steps_of,
)
from app.workflows.executions.values import LARGEST_INLINE, ValueStore, values_place_of
from tests.contracts.store_outcomes import Database
from tests.execution_builders import a_step, an_execution, ended
from tests.job_builders import NOON, REDISPATCH, SECOND, TENANT, FakeClock

DAY = timedelta(days=1)
DONE = Rule(frozenset({Status.COMPLETED, Status.CANCELLED}), 2 * DAY)
LARGE = "x" * (LARGEST_INLINE + 1)


@dataclass
class World:
    """Executions with a step, a large value, an artifact of an agent, an effect and a signal each."""

    db: Database
    clock: FakeClock
    artifacts: ArtifactStore

    def __post_init__(self) -> None:
        self.executions = Documents(self.db["executions"])
        self.steps = Documents(self.db["steps"])
        self.signals = Documents(self.db["workflow_signals"])
        self.effects = Documents(self.db["effects"])

    async def end(self, status: str = "completed", **changes: Any) -> str:
        completed = {"status": status, "completed_at": NOON, "uncounted": True, "begun_at": NOON, **changes}
        execution = an_execution(**completed)
        large = await ValueStore(self.artifacts).put(values_place_of(TENANT, execution.id), LARGE)
        await self.executions.insert({**execution.document, "outputs": large})
        step = ended(a_step(execution_id=execution.id), 2)
        place = place_of(TENANT, execution.id, Part.OUTPUTS)
        made = await self.artifacts.put(place, b"a chart", "image/png")
        await self.steps.insert({**step, "heard": True, DIGESTS: [made.sha256]})
        await self.effects.insert({"_id": new_id(), "tenant_id": TENANT, "task_id": step["_id"]})
        await self.signals.insert({"_id": new_id(), "tenant_id": TENANT, "execution_id": execution.id})
        return execution.id

    async def counts(self) -> list[int]:
        """Of executions, steps, signals, effects."""
        all_of = (self.executions, self.steps, self.signals, self.effects)
        return [await documents.count({}, limit=100) for documents in all_of]

    def retention(self, *belongings: DeleteBelongings) -> ExecutionRetention:
        deletions = [
            delete_steps_of(self.steps, [by_task_id(self.effects)]),
            *belongings,
            by_execution_id(self.signals),
            delete_artifacts_of(self.artifacts),
        ]
        inner = Retention(self.executions, deletions, [DONE], clock=self.clock)
        return ExecutionRetention(self.executions, self.steps, inner, [DONE], clock=self.clock)

    async def delete_later(self) -> int:
        self.clock.advance(3 * DAY)
        return await self.retention().delete_batches()


@pytest.fixture
async def world(db: Database, tmp_path: Path) -> World:
    await ensure_indexes(db, (*repository.INDEXES, *journal.INDEXES))
    return World(db, FakeClock(), ArtifactStore(str(tmp_path)))


def files_in(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


async def test_an_old_execution_goes_with_all_that_belongs_to_it(world: World, tmp_path: Path) -> None:
    await world.end()

    assert await world.delete_later() == 1
    assert await world.counts() == [0, 0, 0, 0]
    assert files_in(tmp_path) == []


async def test_another_executions_belongings_stay(world: World) -> None:
    young = await world.end(completed_at=NOON + 2 * DAY)
    await world.end()

    await world.delete_later()

    assert await world.counts() == [1, 1, 1, 1]
    stored = (await world.executions.find_many({"_id": young}, limit=1))[0]["outputs"]
    assert await ValueStore(world.artifacts).get(values_place_of(TENANT, young), stored) == LARGE


async def test_more_steps_than_are_deleted_at_once_all_go(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retention, "STEPS_AT_ONCE", 2)
    execution_id = await world.end()
    for number in range(5):
        await world.steps.insert(ended(a_step(f"s{number}", execution_id=execution_id), 2 * number + 4))

    await world.delete_later()

    assert await world.counts() == [0, 0, 0, 0]


@pytest.mark.parametrize(
    "needed_by", ["a step that runs on", "a step that is not charged yet", "a fork that has not begun"]
)
async def test_an_execution_that_is_needed_stays_however_old(world: World, needed_by: str) -> None:
    execution_id = await world.end()
    changes: dict[str, dict[str, Any]] = {
        "a step that runs on": {"status": "processing"},
        "a step that is not charged yet": {UNCHARGED: True},
        "a fork that has not begun": {},
    }
    await world.steps.update_many({"execution_id": execution_id}, {"$set": {"ended_seq": 2, **changes[needed_by]}})
    fork = an_execution(forked_from={"execution_id": execution_id, "step": "say"})
    if needed_by == "a fork that has not begun":
        await world.executions.insert(dict(fork.document))

    assert await world.delete_later() == 0

    await world.steps.update_many({"execution_id": execution_id}, {"$set": {"status": "completed", UNCHARGED: False}})
    await world.executions.update_one({"_id": fork.id}, {"$set": {"begun_at": world.clock()}})
    world.clock.advance(PAUSE)
    assert await world.retention().delete_batches() == 1


async def test_an_execution_that_is_tried_again_stays(world: World) -> None:
    execution_id = await world.end("cancelled")
    world.clock.advance(3 * DAY)
    store = JobStore(world.executions, clock=world.clock, redispatch=REDISPATCH)
    await store.retry(TENANT, execution_id, reset={}, request="r")

    assert await world.retention().delete_batches() == 0
    assert await world.counts() == [1, 1, 1, 1]


async def test_what_a_crash_left_behind_is_found_by_the_next_pass(world: World, tmp_path: Path) -> None:
    async def dies(_: Sequence[ExpiredJob]) -> None:
        raise StoreUnavailable("the process died here")

    await world.end()
    world.clock.advance(3 * DAY)

    with pytest.raises(StoreUnavailable):
        await world.retention(dies).delete_batches()
    assert await world.counts() == [1, 0, 1, 0]
    assert await world.executions.of_tenant(EXPIRED_TENANT).count({}, limit=10) == 1
    assert await world.retention().delete_batches() == 1

    assert await world.counts() == [0, 0, 0, 0]
    assert files_in(tmp_path) == []


async def test_with_nothing_to_do_it_looks_again_after_a_while_only(world: World) -> None:
    deleting = world.retention()
    await deleting.delete_batches()
    await world.end(completed_at=NOON - 5 * DAY)

    at_once = await deleting.delete_batches()
    world.clock.advance(PAUSE + SECOND)

    assert at_once == 0
    assert await deleting.delete_batches() == 1
