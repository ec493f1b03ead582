"""Executions of random workflows by processes that die anywhere, beside the sequential reference."""

import asyncio
from pathlib import Path
from random import Random
from typing import Any

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from app.ids import new_trace_id
from app.jobs.models import JobError
from app.jobs.store import JobStore
from app.tasks.models import Caller
from app.workflows.executions.models import Request, WorkflowRef
from app.workflows.executions.service import new_execution
from app.workflows.executions.values import values_place_of
from tests.execution_fleet import Fleet
from tests.fakes.mongo import fake_mongo
from tests.job_builders import REDISPATCH
from tests.random_workflows import Documents, documents
from tests.unit.test_workflow_properties import CONSTANTS, outcome_of
from tests.workflow_builders import JsonValues, without_messages
from tests.workflow_reference import Reference

BOUNDED = settings(
    max_examples=60,
    deadline=None,
    derandomize=True,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
SEEDS = st.integers(0, 2**32)
ID = "0b8e1a52-6f3c-4d17-9a8e-2c5b7d9e1f30"
PLACE = values_place_of("default", ID)
EVEN_LONGEST = 20


def a_fleet(written: Documents, seed: int, folder: Path) -> Fleet:
    def work(path: str, given: Any) -> tuple[Any, JobError | None]:
        outcome = outcome_of(seed, path, given)
        return outcome.output, JobError(outcome.error["type"], "it broke") if outcome.error else None

    return Fleet(fake_mongo()["tests"], written.plan(), JsonValues(), work, Random(seed), folder)


async def executed(fleet: Fleet, *, deaths: int) -> tuple[str, Any, dict[str, Any]]:
    caller = Caller("default", "key", "request", new_trace_id())
    request = Request(WorkflowRef("w", "whole", fleet.plan.digest), CONSTANTS["inputs"])
    inputs = await fleet.processes[0].values.put(PLACE, CONSTANTS["inputs"])
    store = JobStore(fleet.executions, clock=fleet.clock, redispatch=REDISPATCH)
    await store.enqueue(new_execution(request, caller, ID, inputs))
    async with asyncio.timeout(EVEN_LONGEST):
        job = await fleet.run(ID, deaths=deaths)
    await fleet.close()
    outputs = await fleet.processes[0].values.get(PLACE, job.document["outputs"])
    steps = {one["path"]: one for one in await fleet.steps.find_many({}, limit=10_000)}
    return str(job.status), outputs, steps


@given(SEEDS, st.integers(0, 3))
@BOUNDED
def test_an_execution_ends_as_the_reference_says_whoever_dies_on_the_way(
    tmp_path: Path, seed: int, deaths: int
) -> None:
    written = documents(seed)
    constants = {"inputs": CONSTANTS["inputs"], "run": {"id": ID}}
    reference = Reference(written.parts, constants, lambda path, given: outcome_of(seed, path, given))
    expected = reference.run(written.workflow)
    fleet = a_fleet(written, seed, tmp_path)

    status, outputs, steps = asyncio.run(executed(fleet, deaths=deaths))

    assert status == ("completed" if expected.end == "succeeded" else "failed")
    assert without_messages(outputs) == (expected.output if expected.end == "succeeded" else None)
    for path, ended in reference.ends.items():
        # What is tolerated is the planner's: the step itself failed.
        expected_end = {steps[path]["end"], "tolerated"} if steps[path]["end"] == "failed" else {steps[path]["end"]}
        assert ended.end in expected_end, path
    for path, times in fleet.begun.items():
        assert times <= 1 + fleet.interrupted[path], path
