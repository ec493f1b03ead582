"""What steps consume is in the usage of their tenant exactly once, beside what tasks consume."""

from datetime import date
from typing import Any, cast

import pytest

from app.database.documents import Database, Documents
from app.jobs.models import JobError
from app.jobs.outcomes import Failed, Finished, Outcome, RetryAt
from app.jobs.store import JobStore
from app.jobs.transitions import Evidence
from app.metrics.rollups import CHARGES_OF_STEPS, COLLECTION, COUNTED, UNCHARGED, Rollups
from app.metrics.usage import NANO, NOTE, Amounts, GroupBy, UsageReport, added_to
from tests.fakes.fate import Collection, Crash, Fate
from tests.fakes.mongo import fake_mongo
from tests.job_builders import NOON, OTHER_TENANT, REDISPATCH, TENANT, FakeClock, a_new_job

TODAY = date(2026, 11, 21)
FAILED = Failed(JobError("LLM_ERROR", "x"))


class World:
    def __init__(self) -> None:
        self.database: Database = fake_mongo()["tests"]
        self.clock = FakeClock()
        self.steps = self._store("steps")
        self.tasks = self._store("tasks")

    def _store(self, name: str) -> JobStore:
        return JobStore(Documents(self.database[name]), clock=self.clock, redispatch=REDISPATCH)

    async def attempt(self, step: str, outcome: Outcome, tokens: int, agent: str = "CodeAgent") -> None:
        """At a step, noted as its handler notes it."""
        job = await self.steps.claim(step, worker="w1")
        assert job is not None
        consumed = {"agent": agent, "tokens": tokens, "model_calls": 1, "nano_usd": tokens * NANO}
        note = added_to(job.document["history"], consumed)
        await self.steps.settle(job, outcome, Evidence(noted={NOTE: note}, fields={UNCHARGED: True}))

    async def count(self, fate: Fate | None = None) -> int:
        def documents(name: str) -> Documents:
            inner: Any = self.database[name]
            return Documents(inner if fate is None else cast("Any", Collection(inner, fate)))

        return await Rollups(documents("steps"), documents(COLLECTION), None, CHARGES_OF_STEPS).count_finished()

    async def usage(self, by: GroupBy = GroupBy.TENANT, tenant: str = TENANT) -> dict[str, int]:
        report = UsageReport(Documents(self.database[COLLECTION]), clock=self.clock)
        found = await report.read(tenant, None, None, by)
        assert found.total == _sum(list(found.groups.values()))
        return {key: amounts["tokens"] for key, amounts in found.groups.items()}


def _sum(groups: list[Amounts]) -> Amounts:
    return {unit: sum(one[unit] for one in groups) for unit in ("tokens", "model_calls", "nano_usd")}


@pytest.fixture
async def world() -> World:
    world = World()
    for step, tenant in (("say", TENANT), ("ask", TENANT), ("other", OTHER_TENANT)):
        await world.steps.enqueue(a_new_job(step, tenant_id=tenant))
    return world


async def test_every_attempt_at_a_step_is_charged_to_its_tenant_and_agent(world: World) -> None:
    await world.attempt("say", RetryAt(NOON), 10)
    await world.count()
    while_open = await world.usage(GroupBy.AGENT)
    await world.attempt("say", Finished(), 5)
    await world.attempt("ask", FAILED, 100, agent="judge")
    await world.attempt("other", Finished(), 1000)
    counted = [await world.count(), await world.count()]

    assert while_open == {"CodeAgent": 10}
    assert await world.usage(GroupBy.AGENT) == {"CodeAgent": 15, "judge": 100}
    assert await world.usage(tenant=OTHER_TENANT) == {OTHER_TENANT: 1000}
    assert counted == [3, 0]


async def test_a_days_usage_is_that_of_tasks_and_steps_together(world: World) -> None:
    await world.tasks.enqueue(a_new_job("task"))
    task = await world.tasks.claim("task", worker="w1")
    assert task is not None
    note = {"agent": "CodeAgent", "tokens": 7, "model_calls": 1, "nano_usd": 0}
    await world.tasks.settle(task, Finished(), Evidence(noted={NOTE: note}))
    await world.attempt("say", Finished(), 10)

    tasks, rollups, counted = (Documents(world.database[name]) for name in ("tasks", COLLECTION, COUNTED))
    await Rollups(tasks, rollups, counted).count_finished()
    await world.count()

    assert await world.usage(GroupBy.DAY) == {TODAY.isoformat(): 17}
    assert await world.usage(GroupBy.AGENT) == {"CodeAgent": 17}
    totals = await world.database[COLLECTION].find_one({"_id": f"{TENANT}:{TODAY}"})
    assert totals is not None
    assert totals["total"] == 1


async def test_a_step_that_consumed_nothing_is_not_looked_at(world: World) -> None:
    job = await world.steps.claim("say", worker="w1")
    assert job is not None
    await world.steps.settle(job, Finished(), Evidence())

    assert await world.count() == 0
    assert await world.usage() == {TENANT: 0}


@pytest.mark.parametrize("half", ["before", "after"])
async def test_a_crash_at_any_write_charges_nothing_twice_and_leaves_nothing_out(half: str) -> None:
    for dies_at in range(1, 100):
        world = World()
        for step in ("say", "ask"):
            await world.steps.enqueue(a_new_job(step))
            await world.attempt(step, RetryAt(NOON), 10)
        died = False
        try:
            await world.count(Fate(dies_at=dies_at, half=half))
        except Crash:
            died = True
        await world.attempt("say", Finished(), 5)
        while await world.count():
            pass

        assert await world.usage() == {TENANT: 25}, dies_at
        if not died:
            break
    assert dies_at > 4
