"""Steps of an execution that the kernel failed are cancelled; those of others are left alone."""

from typing import Any

from app.database.documents import Documents
from app.jobs.store import JobStore
from app.workflows.executions.models import EXECUTIONS, STEPS
from app.workflows.executions.orphans import Orphans
from tests.execution_builders import a_step, an_execution, ended
from tests.fakes.mongo import fake_mongo
from tests.job_builders import NOON, REDISPATCH, FakeClock

LOST = {"type": "WORKER_LOST", "message": "its workers were lost"}
BY_KERNEL = {"status": "failed", "completed_at": NOON, "error": LOST, "fault": None}


class World:
    def __init__(self) -> None:
        database = fake_mongo()["tests"]
        self.executions, self.steps = Documents(database[EXECUTIONS]), Documents(database[STEPS])
        self.orphans = Orphans(
            self.executions, self.steps, JobStore(self.steps, clock=FakeClock(), redispatch=REDISPATCH)
        )

    async def add(self, **changes: Any) -> str:
        """An execution with a step that waits, one that runs, and one that has ended."""
        execution = an_execution(**changes)
        await self.executions.insert(dict(execution.document))
        running = a_step("runs", execution_id=execution.id, status="processing", lease={"token": "t", "worker": "w"})
        waiting, over = a_step("waits", execution_id=execution.id), a_step("e", execution_id=execution.id)
        for step in (waiting, running, ended(over, 9)):
            await self.steps.insert(step)
        return execution.id

    async def by_path(self, execution_id: str) -> dict[str, Any]:
        return {one["path"]: one for one in await self.steps.find_many({"execution_id": execution_id}, limit=10)}


async def test_steps_of_an_execution_that_nobody_drives_any_more_are_cancelled() -> None:
    world = World()
    execution_id = await world.add(**BY_KERNEL)

    looked_at = [await world.orphans.cancel_all() for _ in range(2)]

    steps = await world.by_path(execution_id)
    assert {path: step["status"] for path, step in steps.items()} == {
        "waits": "cancelled", "runs": "processing", "e": "completed"
    }  # fmt: skip
    assert steps["runs"]["cancel_requested_at"] is not None
    assert looked_at == [1, 0]
    (execution,) = await world.executions.find_many({}, limit=10)
    assert execution["fault"] == {**LOST, "path": None}


async def test_more_steps_than_are_cancelled_at_once_are_all_cancelled() -> None:
    world = World()
    execution_id = await world.add(**BY_KERNEL)
    for number in range(250):
        await world.steps.insert(a_step(f"each[{number}]", execution_id=execution_id))

    await world.orphans.cancel_all()

    open_ = {"execution_id": execution_id, "status": "queued"}
    assert await world.steps.count(open_, limit=1000) == 0


async def test_steps_of_an_execution_that_goes_on_or_was_driven_to_its_end_are_left_alone() -> None:
    world = World()
    ids = [
        await world.add(),
        await world.add(**{**BY_KERNEL, "fault": {"type": "TIMEOUT", "message": "m", "path": "say"}}),
    ]

    assert await world.orphans.cancel_all() == 0
    for execution_id in ids:
        steps = await world.by_path(execution_id)
        assert (steps["waits"]["status"], steps["runs"]["cancel_requested_at"]) == ("queued", None)


async def test_steps_of_a_series_that_a_retry_began_meanwhile_are_left_alone() -> None:
    world = World()
    execution_id = await world.add(**BY_KERNEL)
    await world.steps.insert({**a_step("again", execution_id=execution_id), "series": 2})

    await world.orphans.cancel_all()

    assert (await world.by_path(execution_id))["again"]["status"] == "queued"
