"""Steps of executions that need more than an agent: programs, evaluations, and budgets of their workflow."""

from collections.abc import AsyncIterator

import pytest

from app.artifacts.places import Part, place_of
from app.artifacts.store import ArtifactStore
from tests.api.hands import Hands
from tests.api.world import StartWorld

PROGRAM = """
version: 1
name: program
steps:
  count:
    command: [sh, -c, "cat > given.json; printf '{\\"lines\\": 3}'"]
    with: {path: notes.txt}
    output: {lines: {type: integer}}
    artifacts: {given: {file: given.json}}
  judge:
    needs: [count]
    evaluate: {step: count, checks: [{type: length, min_words: 50}], on_fail: flag}
outputs:
  lines: "${{ steps.count.output.lines }}"
  passed: "${{ steps.judge.output.passed }}"
"""
FRUGAL = """
version: 1
name: frugal
budget: {model_calls: 1}
steps:
  write: {agent: ContentAgent, with: {task: Write a short post about queues}}
outputs: {post: "${{ steps.write.output.raw_output }}"}
"""


@pytest.fixture
async def hands(start_world: StartWorld) -> AsyncIterator[Hands]:
    async with start_world(worker_allow_commands=True) as world:
        yield Hands(world.api, [world.worker])


async def test_a_program_gives_what_others_use_and_leaves_a_file(hands: Hands) -> None:
    execution = await hands.run(PROGRAM)

    assert execution.status == "completed", execution.document["fault"]
    assert await hands.outputs(execution) == {"lines": 3, "passed": False}
    kept = (await hands.steps(execution.id))["count"]["artifacts"]["given"]
    location = hands.api.core.settings.artifact_location
    place = place_of(hands.tenant_id, execution.id, Part.OUTPUTS)
    assert await ArtifactStore(location).get(place, kept["sha256"]) == b'{"path": "notes.txt"}'


async def test_the_budget_of_a_workflow_ends_the_step_that_goes_beyond_it(hands: Hands) -> None:
    execution = await hands.run(FRUGAL)

    (attempt,) = (await hands.steps(execution.id))["write"]["attempts"]
    assert (execution.status, execution.document["fault"]["type"]) == ("failed", "BUDGET_EXCEEDED")
    assert (execution.document["fault"]["path"], attempt["cost"]["model_calls"]) == ("write", 1)
