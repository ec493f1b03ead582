"""Executions as workers drive them: every kind of step and structure, with the results that a run on a laptop has."""

from collections.abc import AsyncIterator

import pytest

from tests.api.hands import Hands
from tests.api.world import World

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


@pytest.fixture
async def hands(world: World) -> AsyncIterator[Hands]:
    yield Hands(world.api, [world.worker])


async def test_a_chain_runs_in_one_go_in_the_process_that_drives_it(hands: Hands) -> None:
    execution = await hands.run(CHAIN, {"text": "hello"})
    assert execution.status == "completed", execution.document["fault"]
    assert await hands.outputs(execution) == {"said": "again hello"}
