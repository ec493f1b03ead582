"""Executions over HTTP: started, read, listed, and how much of them each answer shows."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from app.workflows.executions.schemas import (
    ExecutionAccepted,
    ExecutionListResponse,
    ExecutionResponse,
    ExecutionStatusResponse,
    LogsResponse,
    StepListResponse,
    StepResponse,
)
from tests.api.hands import YAML, Hands
from tests.api.harness import NOBODY, Api, Json, conforms, problem_of
from tests.api.world import World

GREETING = """
version: 1
name: greeting
inputs:
  text: {type: string, max_length: 20}
  names: {type: array, items: {type: string}, default: [a, b]}
steps:
  each:
    for_each: "${{ inputs.names }}"
    agent: EchoAgent
    with: {task: "${{ item }} ${{ inputs.text }}"}
  never:
    if: inputs.text == 'never'
    agent: EchoAgent
    with: {task: x}
  count:
    needs: [each]
    transform: {number: "${{ size(steps.each.output) }}"}
outputs:
  number: "${{ steps.count.output.number }}"
"""
FAILING = """
version: 1
name: failing
inputs: {good: {type: boolean, default: false}}
steps:
  first: {agent: EchoAgent, with: {task: once}}
  second:
    needs: [first]
    transform: {value: "${{ inputs.good ? 1 : [1][7] }}"}
"""


@pytest.fixture
async def hands(world: World) -> AsyncIterator[Hands]:
    hands = Hands(world.api, [world.worker])
    yield hands
    await hands.rest()


async def put(api: Api, text: str) -> Json:
    answer = await api.client.post("/v1/workflows", content=text.encode(), headers=YAML)
    assert answer.status_code in {200, 201}, answer.text
    found: Json = answer.json()
    return found


async def execute(api: Api, name: str, inputs: Json | None = None, **body: Any) -> httpx.Response:
    headers = body.pop("headers", {})
    given = {"input_data": inputs or {}, **body}
    return await api.post(f"/v1/workflows/{name}/execute", given, headers=headers)


async def started(api: Api, text: str, inputs: Json | None = None, **body: Any) -> str:
    """The id of an execution that was accepted."""
    answer = await execute(api, (await put(api, text))["name"], inputs, **body)
    assert answer.status_code == 202, answer.text
    return str(answer.json()["execution_id"])


async def read(api: Api, execution_id: str, rest: str = "", **params: Any) -> Json:
    answer = await api.get(f"/v1/executions/{execution_id}{rest}", params=params)
    assert answer.status_code == 200, answer.text
    found: Json = answer.json()
    return found


async def test_an_accepted_execution_is_stored_and_says_so(hands: Hands) -> None:
    workflow = await put(hands.api, GREETING)

    answer = await execute(hands.api, workflow["workflow_id"], {"text": "hello"}, metadata={"team": "red"})
    accepted = answer.json()
    found = await read(hands.api, accepted["execution_id"])

    assert answer.status_code == 202
    conforms(ExecutionAccepted, accepted)
    assert answer.headers["Location"] == f"/v1/executions/{accepted['execution_id']}"
    assert (accepted["workflow_id"], accepted["name"]) == (workflow["workflow_id"], "greeting")
    assert (accepted["digest"], accepted["status"]) == (workflow["digest"], "queued")
    conforms(ExecutionResponse, found)
    assert (found["status"], found["inputs"]) == ("queued", {"text": "hello", "names": ["a", "b"]})
    assert (found["metadata"], found["outputs"], found["steps"]) == ({"team": "red"}, None, [])


async def test_an_execution_that_ended_is_shown_whole(hands: Hands) -> None:
    execution_id = await started(hands.api, GREETING, {"text": "hello"})

    await hands.go_on(execution_id)
    found = await read(hands.api, execution_id)

    conforms(ExecutionResponse, found)
    assert (found["status"], found["outputs"], found["error"]) == ("completed", {"number": 2}, None)
    assert found["progress"]["percentage"] == 100.0
    assert found["progress"]["ended"] == found["progress"]["total"]
    assert [node["id"] for node in found["graph"]["nodes"]] == ["each", "never", "count"]
    ended = {step["path"]: step["status"] for step in found["steps"]}
    expected = {"each[0]": "succeeded", "each[1]": "succeeded", "never": "skipped", "count": "succeeded"}
    assert ended.items() >= expected.items()
    assert [entry["event"] for entry in found["log"]] == ["started", "ended"]
    assert found["duration_seconds"] >= 0
    assert found["steps_next"] is None


async def test_inputs_that_do_not_fit_are_refused_before_anything_is_stored(hands: Hands) -> None:
    await put(hands.api, GREETING)

    missing = problem_of(await execute(hands.api, "greeting", {"names": "a"}), 422, "WORKFLOW_INPUT_INVALID")
    deep: Any = 1
    for _ in range(40):
        deep = {"a": deep}

    assert "text" in missing["detail"]
    assert "names" in missing["detail"]
    problem_of(await execute(hands.api, "greeting", {"text": deep}), 422, "VALIDATION_ERROR")
    problem_of(await execute(hands.api, "greeting", {"text": "x"}, colour="red"), 422, "VALIDATION_ERROR")
    assert (await hands.api.get("/v1/executions")).json()["items"] == []


async def test_large_inputs_are_kept_beside_the_execution_and_shown_whole(hands: Hands) -> None:
    text = "x" * 100_000
    execution_id = await started(
        hands.api, FAILING.replace("inputs: {", "inputs: {text: {type: string}, "), {"text": text}
    )

    found = await read(hands.api, execution_id)
    stored = await hands.api.core.executions.documents.find_one({"_id": execution_id})

    assert found["inputs"] == {"text": text, "good": False}
    assert stored is not None
    assert stored["inputs"].keys() == {"sha256", "size", "media_type"}


async def test_what_is_not_there_is_not_found(hands: Hands) -> None:
    await put(hands.api, GREETING)

    problem_of(await execute(hands.api, "nothing"), 404, "WORKFLOW_NOT_FOUND")
    unknown = await execute(hands.api, "greeting", {"text": "x"}, version="sha256:none")
    problem_of(unknown, 404, "WORKFLOW_NOT_FOUND")
    for execution_id in (NOBODY, "no-id"):
        problem_of(await hands.api.get(f"/v1/executions/{execution_id}"), 404, "EXECUTION_NOT_FOUND")


async def test_an_older_version_is_executed_by_its_digest(hands: Hands) -> None:
    old = await put(hands.api, GREETING)
    await put(hands.api, GREETING.replace("size(", "10 + size("))

    answer = await execute(hands.api, "greeting", {"text": "x"}, version=old["digest"])
    execution = await hands.go_on(answer.json()["execution_id"])

    assert await hands.outputs(execution) == {"number": 2}


async def test_the_same_key_starts_one_execution(hands: Hands) -> None:
    await put(hands.api, GREETING)
    headers = {"Idempotency-Key": "once"}

    first, *others = await asyncio.gather(
        *(execute(hands.api, "greeting", {"text": "x"}, headers=headers) for _ in range(4))
    )
    await put(hands.api, GREETING.replace("size(", "10 + size("))
    late = await execute(hands.api, "greeting", {"text": "x"}, headers=headers)
    other = await execute(hands.api, "greeting", {"text": "y"}, headers=headers)

    assert {answer.json()["execution_id"] for answer in (*others, late)} == {first.json()["execution_id"]}
    assert late.headers["Idempotent-Replayed"] == "true"
    assert late.json() == first.json()
    problem_of(other, 422, "IDEMPOTENCY_KEY_REUSED")


async def test_who_prefers_to_wait_gets_the_whole_execution(hands: Hands) -> None:
    await put(hands.api, GREETING)

    asked = asyncio.create_task(execute(hands.api, "greeting", {"text": "x"}, headers={"Prefer": "wait=20"}))
    async with asyncio.timeout(10):
        while not (items := (await hands.api.get("/v1/executions")).json()["items"]):  # noqa: ASYNC110 - its first write
            await asyncio.sleep(0.01)
    await hands.go_on(items[0]["execution_id"])
    answer = await asked

    assert answer.headers["Preference-Applied"] == "wait=20"
    assert answer.json()["execution"]["outputs"] == {"number": 2}
    assert answer.json()["status"] == "completed"


async def test_executions_are_listed_by_status_and_workflow_newest_first(hands: Hands) -> None:
    done = await started(hands.api, GREETING, {"text": "x"})
    await hands.go_on(done)
    failed = await started(hands.api, FAILING)
    await hands.go_on(failed)
    queued = [await started(hands.api, GREETING, {"text": "x"}) for _ in range(3)]

    async def ids(**params: Any) -> list[str]:
        page = (await hands.api.get("/v1/executions", params=params)).json()
        conforms(ExecutionListResponse, page)
        return [item["execution_id"] for item in page["items"]]

    workflow = (await hands.api.get("/v1/workflows/failing")).json()["workflow_id"]
    assert sorted(await ids()) == sorted([done, failed, *queued])
    assert await ids(status="completed") == [done]
    assert await ids(status="failed", workflow="failing") == await ids(workflow=workflow) == [failed]
    assert sorted(await ids(status="queued", workflow="greeting")) == sorted(queued)
    assert await ids(status="processing") == await ids(status="paused") == await ids(status="waiting") == []
    problem_of(await hands.api.get("/v1/executions", params={"status": "done"}), 422, "VALIDATION_ERROR")


async def test_a_list_is_walked_by_cursor_without_gap_or_repetition(hands: Hands) -> None:
    begun = {await started(hands.api, GREETING, {"text": "x"}) for _ in range(5)}

    found: list[str] = []
    params: Json = {"page_size": 2}
    while True:
        page = (await hands.api.get("/v1/executions", params=params)).json()
        found += [item["execution_id"] for item in page["items"]]
        if page["next_cursor"] is None:
            break
        params["cursor"] = page["next_cursor"]

    assert len(found) == 5
    assert set(found) == begun


async def test_steps_are_walked_by_cursor_and_found_by_status_and_path(hands: Hands) -> None:
    execution_id = await started(hands.api, GREETING, {"text": "x", "names": list("abcdefg")})
    await hands.go_on(execution_id)

    found: list[Json] = []
    params: Json = {"page_size": 3}
    while True:
        page = await read(hands.api, execution_id, "/steps", **params)
        conforms(StepListResponse, page)
        found += page["items"]
        if page["next_cursor"] is None:
            break
        params["cursor"] = page["next_cursor"]

    assert [step["seq"] for step in found] == sorted({step["seq"] for step in found})
    assert {step["path"] for step in found} >= {*(f"each[{number}]" for number in range(7)), "never", "count"}
    skipped = await read(hands.api, execution_id, "/steps", status="skipped")
    assert [step["path"] for step in skipped["items"]] == ["never"]
    items = await read(hands.api, execution_id, "/steps", path="each[", status="succeeded")
    assert len(items["items"]) == 7
    wrong = await hands.api.get(f"/v1/executions/{execution_id}/steps", params={"cursor": "x"})
    problem_of(wrong, 422, "VALIDATION_ERROR")


async def test_one_step_is_shown_with_what_it_was_given_and_gave(hands: Hands) -> None:
    execution_id = await started(hands.api, GREETING, {"text": "x"})
    await hands.go_on(execution_id)

    step = await read(hands.api, execution_id, "/steps/each[1]")

    conforms(StepResponse, step)
    assert (step["status"], step["kind"], step["agent"]) == ("succeeded", "agent", "EchoAgent")
    assert step["input"]["with"] == {"task": "b x"}
    assert "b x" in step["output"]["raw_output"]
    assert [attempt["number"] for attempt in step["attempts"]] == [1]
    problem_of(await hands.api.get(f"/v1/executions/{execution_id}/steps/each[9]"), 404, "STEP_NOT_FOUND")


async def test_the_log_is_read_by_page_level_and_words(hands: Hands) -> None:
    execution_id = await started(hands.api, FAILING)
    await hands.go_on(execution_id)

    whole = await read(hands.api, execution_id, "/logs")
    first = await read(hands.api, execution_id, "/logs", page_size=2)
    rest = await read(hands.api, execution_id, "/logs", after=first["next_cursor"])
    errors = await read(hands.api, execution_id, "/logs", level="error")
    about = await read(hands.api, execution_id, "/logs", q="SECOND")

    conforms(LogsResponse, whole)
    assert whole["next_cursor"] is None
    assert first["items"] + rest["items"] == whole["items"]
    assert [line["path"] for line in errors["items"]] == ["second"]
    assert "EXPRESSION_FAILED" in errors["items"][0]["message"]
    assert {line["path"] for line in about["items"]} == {"second"}
    assert next(line["message"] for line in whole["items"] if line["path"] is None) == "execution started"


async def test_the_status_tells_how_far_it_is(hands: Hands) -> None:
    execution_id = await started(hands.api, GREETING, {"text": "x"})
    before = await read(hands.api, execution_id, "/status")
    await hands.go_on(execution_id)
    after = await read(hands.api, execution_id, "/status")

    conforms(ExecutionStatusResponse, before)
    assert (before["status"], before["progress_percentage"], before["current_steps"]) == ("queued", 0.0, [])
    assert (after["status"], after["progress_percentage"], after["current_steps"]) == ("completed", 100.0, [])
    assert after["counts"]["failed"] == 0
    assert after["counts"]["ended"] == after["counts"]["total"]


async def test_why_says_what_an_execution_waits_for_or_how_it_ended(hands: Hands) -> None:
    execution_id = await started(hands.api, FAILING)
    queued = await read(hands.api, execution_id, "/why")
    await hands.go_on(execution_id)
    ended = await read(hands.api, execution_id, "/why")

    assert queued["waiting_for"] == "worker"
    assert "orchestrate worker" in queued["explanation"]
    assert ended["waiting_for"] == "nothing"
    assert "second: EXPRESSION_FAILED" in ended["explanation"]


async def test_another_tenant_sees_nothing_of_it(hands: Hands) -> None:
    execution_id = await started(hands.api, GREETING, {"text": "x"})
    repository = hands.api.app.state.execution_api.repository

    assert await repository.find("default", execution_id) is not None
    assert await repository.find("another", execution_id) is None
    assert await repository.list_open("another", execution_id) == []
