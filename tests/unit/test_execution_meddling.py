"""Executions of random workflows that people cancel, pause, retry and fork while their processes die."""

import asyncio
from collections.abc import Iterable
from pathlib import Path
from random import Random
from types import SimpleNamespace
from typing import Any, cast

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from app.ids import new_trace_id
from app.jobs.kind import Jobs
from app.jobs.models import Job, JobError, Status
from app.jobs.queue import JobQueue
from app.jobs.recovery import Recovery
from app.jobs.store import JobStore
from app.tasks.models import Caller
from app.workflows.executions.models import EXECUTIONS, ExecutionFinished, Fork, Request, WorkflowRef
from app.workflows.executions.repository import ExecutionRepository
from app.workflows.executions.service import new_execution
from app.workflows.executions.steering import Steering
from app.workflows.executions.values import values_place_of
from app.workflows.executions.waking import Waker
from app.workflows.planner import End
from app.workflows.run import ENDING
from tests.execution_fleet import COST, Fleet
from tests.fakes.mongo import fake_mongo
from tests.job_builders import REDISPATCH
from tests.random_workflows import documents
from tests.unit.test_workflow_properties import CONSTANTS, outcome_of
from tests.workflow_builders import JsonValues

BOUNDED = settings(
    max_examples=30,
    deadline=None,
    derandomize=True,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
SEEDS = st.integers(0, 2**32)
ID, FORK = "0b8e1a52-6f3c-4d17-9a8e-2c5b7d9e1f30", "5d1f0c1e-7b0a-4c57-8e51-1f1f6f0f4a11"
EVEN_LONGEST = 30
MOST_RETRIES = 2


class World:
    """One workflow on a fleet, and a person who meddles. Each series of attempts has other outcomes."""

    def __init__(self, seed: int, folder: Path) -> None:
        self.series = 1
        self.seed = seed
        self.random = Random(seed)
        self.written = documents(seed)
        self.fleet = Fleet(fake_mongo()["tests"], self.written.plan(), JsonValues(), self._work, self.random, folder)
        self.steering = steering_of(self.fleet)

    def _work(self, path: str, given: Any) -> tuple[Any, JobError | None]:
        outcome = outcome_of(self.seed + self.series, path, given)
        return outcome.output, JobError(outcome.error["type"], "it broke") if outcome.error else None

    async def begin(self, execution_id: str, fork: Fork | None = None) -> None:
        caller = Caller("default", "key", "request", new_trace_id())
        request = Request(WorkflowRef("w", "whole", self.fleet.plan.digest), CONSTANTS["inputs"], forked_from=fork)
        place = values_place_of("default", execution_id)
        inputs = await self.fleet.processes[0].values.put(place, CONSTANTS["inputs"])
        store = JobStore(self.fleet.executions, clock=self.fleet.clock, redispatch=REDISPATCH)
        await store.enqueue(new_execution(request, caller, execution_id, inputs))

    async def end(self, execution_id: str, *, deaths: int = 0, cancels: bool = False, pauses: int = 0) -> Job:
        wishes = ["cancel"] * cancels + ["pause"] * pauses
        self.random.shuffle(wishes)

        async def meddle(job: Job) -> None:
            try:
                if wishes and self.random.random() < 0.3:
                    await getattr(self.steering, wishes.pop())("default", execution_id, by="ann")
                elif job.document["paused_at"] and not job.document["cancel_wanted"] and self.random.random() < 0.3:
                    await self.steering.resume("default", execution_id, by="ann")
            except ExecutionFinished:
                return

        async with asyncio.timeout(EVEN_LONGEST):
            job = await self.fleet.run(execution_id, deaths=deaths, meddle=meddle)
        for process in self.fleet.processes:
            await asyncio.gather(*process.tasks)
        return job

    async def steps(self, execution_id: str) -> list[dict[str, Any]]:
        return await self.fleet.steps.find_many({"execution_id": execution_id}, limit=10_000, sort=(("series", 1),))


def steering_of(fleet: Fleet) -> Steering:
    store = JobStore(fleet.executions, clock=fleet.clock, redispatch=REDISPATCH)
    recovery = Recovery(fleet.executions, clock=fleet.clock, redispatch=REDISPATCH)
    queue = JobQueue(fleet.executions, clock=fleet.clock, redispatch=REDISPATCH)
    signals = fleet.processes[0].signals
    bell = cast("Any", SimpleNamespace(ring=lambda _: None))
    jobs = Jobs(EXECUTIONS, fleet.executions, store, recovery, queue, bell)
    repository = ExecutionRepository(fleet.executions, fleet.steps)
    unused = cast("Any", None)
    waker = Waker(store, bell.ring, signals)
    return Steering(jobs, repository, unused, waker, idempotency=unused, signals=signals, clock=fleet.clock)


def _is_in_ending(path: str) -> bool:
    """A `finally` runs with each series."""
    return ENDING in path.split(".")


def _carried_out_again(steps: Iterable[dict[str, Any]]) -> list[str]:
    """Paths of steps that were begun although an earlier series had finished them; in the order of their series."""
    finished, again = set[str](), list[str]()
    for one in steps:
        if one["path"] in finished and one["attempt"] and not _is_in_ending(one["path"]):
            again.append(one["path"])
        if one["end"] == End.SUCCEEDED.value:
            finished.add(one["path"])
    return again


async def lived(world: World, deaths: int, cancels: bool, pauses: int) -> Job:
    await world.begin(ID)
    job = await world.end(ID, deaths=deaths, cancels=cancels, pauses=pauses)
    while job.status is not Status.COMPLETED and world.series <= MOST_RETRIES:
        _check_ended(world, job, await world.steps(ID))
        world.series += 1
        await world.steering.retry("default", ID, by="ann")
        job = await world.end(ID, deaths=deaths, cancels=cancels and world.random.random() < 0.5)
    return job


def _check_ended(world: World, job: Job, steps: list[dict[str, Any]]) -> None:
    assert [one["path"] for one in steps if not Status(one["status"]).is_final] == []
    assert _carried_out_again(steps) == []
    calls = sum(len(one["attempts"]) for one in steps)
    assert job.document["cost"]["model_calls"] == calls
    assert job.document["cost"]["usd"] == calls * COST["usd"]
    if job.status is Status.CANCELLED:
        now = {one["path"]: one["end"] for one in steps if one["series"] == job.document["series"]}
        for name in world.written.workflow.finally_:
            assert now[f"{ENDING}.{name}"] != "cancelled", name


@given(SEEDS, st.integers(0, 2), st.booleans(), st.integers(0, 2))
@BOUNDED
def test_an_execution_ends_and_no_finished_step_is_done_again_whatever_people_do_to_it(
    tmp_path: Path, seed: int, deaths: int, cancels: bool, pauses: int
) -> None:
    async def check() -> None:
        world = World(seed, tmp_path)
        job = await lived(world, deaths, cancels, pauses)
        _check_ended(world, job, await world.steps(ID))
        await world.fleet.close()

    asyncio.run(check())


@given(SEEDS, st.integers(0, 2))
@BOUNDED
def test_a_fork_ends_and_does_nothing_again_that_it_took_over(tmp_path: Path, seed: int, deaths: int) -> None:
    async def check() -> None:
        world = World(seed, tmp_path)
        await world.begin(ID)
        await world.end(ID)
        world.series += 1
        step = world.random.choice(list(world.written.workflow.steps))
        world.fleet.begun.clear()
        await world.begin(FORK, Fork(ID, step))

        job = await world.end(FORK, deaths=deaths)

        steps = await world.steps(FORK)
        taken = [one["path"] for one in steps if one["reused_from"]]
        assert [path for path in taken if world.fleet.begun[path]] == []
        _check_ended(world, job, steps)
        await world.fleet.close()

    asyncio.run(check())
