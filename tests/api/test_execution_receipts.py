"""Receipts of executions: asked of the server once they have ended, and checked offline by the command line."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from app.cli.main import app
from app.workflows.receipt import problems_of
from tests.api.hands import Hands
from tests.api.harness import NOBODY, Json, problem_of
from tests.api.world import World

WORKFLOW = """
version: 1
name: receipted
inputs: {text: {type: string}}
steps:
  each:
    for_each: "${{ ['a', 'b', 'c'] }}"
    agent: EchoAgent
    with: {task: "${{ item }} ${{ inputs.text }}"}
  consent: {needs: [each], approval: {message: Go on?}}
  large:
    needs: [consent]
    transform: {text: "${{ inputs.text + inputs.text }}"}
outputs: {text: "${{ steps.large.output.text }}"}
"""


@pytest.fixture
async def hands(world: World) -> Hands:
    return Hands(world.api, [world.worker])


async def _begun(hands: Hands, text: str = "hello") -> str:
    execution_id = await hands.begin(WORKFLOW, {"text": text})
    await hands.go_on(execution_id)
    return execution_id


async def _receipt(hands: Hands, execution_id: str) -> Json:
    answer = await hands.api.client.get(f"/v1/executions/{execution_id}/receipt")
    assert answer.status_code == 200, answer.text
    found: Json = answer.json()
    return found


async def _approved(hands: Hands, text: str = "hello") -> str:
    execution_id = await _begun(hands, text)
    path = f"/v1/executions/{execution_id}/steps/consent/approve"
    answer = await hands.api.client.post(path, json={"comment": "fine"})
    assert answer.status_code == 202, answer.text
    await hands.go_on(execution_id)
    return execution_id


async def test_a_receipt_has_all_that_happened_and_proves_itself(hands: Hands) -> None:
    receipt = await _receipt(hands, await _approved(hands))

    problems, events, values = problems_of(receipt)
    assert (problems, values) == ([], 2)
    assert events == receipt["events"]["count"] > 12
    assert receipt["status"] == "completed"
    assert {step["path"] for step in receipt["steps"]} == {"each[0]", "each[1]", "each[2]", "each", "consent", "large"}
    assert all(len(step["attempts"]) == 1 for step in receipt["steps"] if step["path"].startswith("each["))
    (approval,) = receipt["approvals"]
    assert (approval["path"], approval["approved"], approval["comment"]) == ("consent", True, "fine")
    assert json.loads(receipt["outputs"]["json"]) == {"text": "hellohello"}


async def test_a_large_value_is_in_the_receipt_by_its_digest_only(hands: Hands) -> None:
    receipt = await _receipt(hands, await _approved(hands, "x" * 40_000))

    assert receipt["outputs"].keys() == {"sha256", "size"}
    assert problems_of(receipt)[0] == []


async def test_there_is_no_receipt_before_the_end_nor_for_others(hands: Hands) -> None:
    execution_id = await _begun(hands)

    early = await hands.api.client.get(f"/v1/executions/{execution_id}/receipt")
    unknown = await hands.api.client.get(f"/v1/executions/{NOBODY}/receipt")

    problem_of(early, 409, "EXECUTION_NOT_FINISHED")
    problem_of(unknown, 404, "EXECUTION_NOT_FOUND")


async def test_a_saved_receipt_is_verified_without_a_server_and_a_changed_one_is_not(
    hands: Hands, tmp_path: Path
) -> None:
    receipt = await _receipt(hands, await _approved(hands))
    genuine, forged = tmp_path / "genuine.json", tmp_path / "forged.json"
    genuine.write_text(json.dumps(receipt, indent=2))
    receipt["approvals"][0]["by"] = "somebody-else"
    forged.write_text(json.dumps(receipt))

    good = CliRunner().invoke(app, ["receipt", "verify", str(genuine)])
    bad = CliRunner().invoke(app, ["receipt", "verify", str(forged), "--json"])

    assert (good.exit_code, bad.exit_code) == (0, 1)
    assert "complete" in good.output
    assert json.loads(bad.output)["problems"] == ["it does not say what its events come to"]
