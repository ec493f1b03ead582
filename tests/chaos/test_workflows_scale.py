"""Long chains and wide fan-outs on two workers."""

import time

import pytest

from tests.chaos.client import ChaosClient
from tests.chaos.conftest import StartWorld
from tests.chaos.execution_checker import most_at_once
from tests.chaos.execution_verdict import check_executions
from tests.chaos.sampling import Sample, Sampler, held_by
from tests.chaos.verdict import Verdict
from tests.chaos.work import sleep
from tests.chaos.workflows import Executions, Json, chain, fan_out
from tests.chaos.world import USUAL, World

# More than one worker has slots for.
WIDTH, ITEMS_OF_FEW = 130, 150
CHAIN = 1000
ITEMS = 10_000
# What a worker has when it has done nothing is about 110 MB.
MOST_MEGABYTES = 400.0


@pytest.mark.chaos
def test_as_many_run_at_once_as_the_workflow_says_whoever_runs_them(
    world: World, client: ChaosClient, verdict: Verdict
) -> None:
    executions = Executions(client)

    execution = executions.final(executions.begin(fan_out("narrow", ITEMS_OF_FEW, sleep(2), max_parallel=WIDTH)))
    record = check_executions(verdict, world, executions, spare=0)
    begun = [event for event in record.jobs.events if event.kind == "start"]

    assert execution["outputs"] == {"said": [str(number) for number in range(ITEMS_OF_FEW)]}
    assert {event.pid for event in begun} == {part.pid for part in world.workers}
    assert 100 < most_at_once(record.jobs.events) <= WIDTH


def counted(document: Json) -> Json:
    """What ten thousand said is more than one expression may make."""
    return {**document, "outputs": {"said": "${{ size(steps.each.output) }}"}}


@pytest.mark.chaos
@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    "document",
    [
        pytest.param(chain("long-chain", CHAIN), id="chain of 1,000"),
        pytest.param(counted(fan_out("wide", ITEMS)), id="fan-out of 10,000"),
        pytest.param(counted(fan_out("wide-and-narrow", ITEMS, max_parallel=50)), id="fan-out of 10,000, 50 at once"),
    ],
)
def test_large_executions_end_right_in_bounded_memory(
    document: Json, start_world: StartWorld, verdict: Verdict
) -> None:
    # With the usual lease: the embedded store is as busy as it can be, and a short one would be lost for that.
    world = start_world(workers=2, settings=USUAL)
    executions = Executions(world.client())

    with Sampler(lambda: look_at(world)) as sampler:
        began = time.monotonic()
        execution = executions.final(executions.begin(document), patience=500)
        took = time.monotonic() - began
    record = check_executions(verdict, world, executions, spare=0)
    most = max(value for sample in sampler.samples for value in sample.values.values())

    number, said = (CHAIN, CHAIN * "a") if document["name"] == "long-chain" else (ITEMS, ITEMS)
    verdict.figure("steps of a large execution", number / took, "steps/s")
    verdict.figure("most memory of a worker", most, f"MB, of {MOST_MEGABYTES}")
    assert execution["status"] == "completed", execution["error"]
    assert execution["outputs"] == {"said": said}
    assert most_at_once(record.jobs.events) <= document["steps"].get("each", {}).get("max_parallel", ITEMS)
    assert most < MOST_MEGABYTES


def look_at(world: World) -> Sample:
    found = [held_by(part.name, part.pid) for part in world.workers]
    return Sample(0, {name: value for one in found for name, value in one.items() if name.endswith(" MB")})
