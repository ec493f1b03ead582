"""Executions as workers drive them: in one go where they can, and together where that is faster."""

import pytest

from app.bootstrap.execution import build_execution
from tests.api.hands import Hands
from tests.api.world import StartWorld, World

CHAIN = """
version: 1
name: chain
inputs:
  text: {type: string}
steps:
  first:
    agent: EchoAgent
    with: {task: "${{ inputs.text }}"}
    output: {raw_output: {type: string}}
  second:
    needs: [first]
    agent: EchoAgent
    with: {task: "again ${{ steps.first.output.raw_output }}"}
    output: {raw_output: {type: string}}
outputs:
  said: "${{ steps.second.output.raw_output }}"
"""
FAN_OUT = """
version: 1
name: fan-out
inputs:
  words: {type: array, items: {type: string}}
steps:
  each:
    for_each: "${{ inputs.words }}"
    agent: EchoAgent
    with: {task: "${{ item }}"}
    output: {raw_output: {type: string}}
outputs:
  said: "${{ steps.each.output.map(one, one.raw_output) }}"
"""


@pytest.fixture
async def hands(world: World) -> Hands:
    return Hands(world.api, [world.worker])


async def test_a_chain_costs_no_message_but_its_own(hands: Hands) -> None:
    execution_id = await hands.begin(CHAIN, {"text": "hello"})

    await hands.worker_run(execution_id)

    execution = await hands.api.core.executions.store.get(execution_id)
    assert execution.status == "completed", execution.document["fault"]
    assert await hands.outputs(execution) == {"said": "again hello"}
    steps = await hands.steps(execution_id)
    assert {path: step["dispatches"] for path, step in steps.items()} == {"first": 1, "second": 1}
    assert [step["history"][1]["reason"] for step in steps.values()] == ["claimed", "claimed"]


async def test_two_workers_with_few_slots_share_a_fan_out_and_keep_its_order(
    start_world: StartWorld,
) -> None:
    words = [f"word {number}" for number in range(60)]
    async with start_world(worker_slots=2) as world:
        other = await build_execution(world.api.settings)
        try:
            hands = Hands(world.api, [world.worker, other])
            execution = await hands.run(FAN_OUT, {"words": words})
            await hands.rest()
        finally:
            await other.close()

        assert await hands.outputs(execution) == {"said": words}
        steps = await hands.steps(execution.id)
        assert [steps[f"each[{number}]"]["attempt"] for number in range(60)] == [1] * 60


KEEPING = """
version: 1
name: keeping
steps:
  write:
    agent: EchoAgent
    with: {task: hello}
    output: {raw_output: {type: string}}
    artifacts: {first: "${{ [steps.write.output.raw_output][5] }}"}
  after:
    needs: [write]
    agent: EchoAgent
    with: {task: never}
"""


async def test_a_step_whose_artifacts_cannot_be_computed_has_failed_for_whoever_reads_it(hands: Hands) -> None:
    execution = await hands.run(KEEPING)

    assert execution.status == "failed"
    assert execution.document["fault"]["path"] == "write"
    steps = await hands.steps(execution.id)
    assert {path: step["end"] for path, step in steps.items()} == {"write": "failed", "after": "blocked"}
