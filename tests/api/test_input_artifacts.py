"""Inputs that name artifacts: what was uploaded, or made by another task, read when work is accepted."""

import hashlib

import httpx
import pytest

from tests.api.hands import Hands
from tests.api.harness import Api, fields_of, problem_of
from tests.api.world import World

SALES = b"\xef\xbb\xbfregion,amount\nnorth,10\nsouth,5\n"
DIGEST = hashlib.sha256(SALES).hexdigest()
NAMED = {"artifact": DIGEST}
WORKFLOW = """
version: 1
name: analysing
inputs: {table: {type: string}}
steps:
  look:
    agent: DataAnalyzerAgent
    with: {task: Look at this., csv: "${{ inputs.table }}", charts: [{kind: bar, x: region, y: amount}]}
"""


async def upload(api: Api, data: bytes = SALES) -> str:
    digest = hashlib.sha256(data).hexdigest()
    answer = await api.client.put(f"/v1/artifacts/{digest}", content=data, headers={"Content-Type": "text/csv"})
    assert answer.status_code in {200, 201}, answer.text
    return digest


async def look(api: Api, **inputs: object) -> httpx.Response:
    answer: httpx.Response = await api.execute("Look at this.", agent="DataAnalyzerAgent", input=inputs)
    return answer


async def test_a_task_analyses_an_upload_and_keeps_what_it_was_given(world: World) -> None:
    await upload(world.api)
    chart = {"kind": "bar", "x": "region", "y": "amount"}

    task_id = (await look(world.api, csv=NAMED, charts=[chart])).json()["task_id"]
    await world.api.client.delete(f"/v1/artifacts/{DIGEST}")
    task = await world.work(task_id)
    (made,) = task["result"]["artifacts"]
    found = (await world.api.get(f"/v1/artifacts/{made['sha256']}/info")).json()
    picture = await world.api.get(f"/v1/artifacts/{made['sha256']}")

    assert task["status"] == "completed", task["error"]
    assert task["result"]["data"]["table"] == {"rows": 2, "columns": ["region", "amount"]}
    assert task["input"]["csv"] == SALES.decode("utf-8-sig")
    assert (found["kind"], found["task_id"], found["name"]) == ("output", task_id, made["name"])
    assert picture.content.lstrip().startswith(b"<")
    problem_of(await world.api.client.delete(f"/v1/artifacts/{made['sha256']}"), 404, "ARTIFACT_NOT_FOUND")


@pytest.mark.long
async def test_an_execution_is_given_an_upload_and_what_its_steps_make_is_found(world: World) -> None:
    await upload(world.api)
    stored = await world.api.client.post(
        "/v1/workflows", content=WORKFLOW, headers={"Content-Type": "application/yaml"}
    )
    assert stored.status_code == 201, stored.text

    begun = await world.api.post("/v1/workflows/analysing/execute", {"input_data": {"table": NAMED}})
    execution = await Hands(world.api, [world.worker]).go_on(begun.json()["execution_id"])
    (made,) = (
        one
        for one in (await world.api.get(f"/v1/executions/{execution.id}/artifacts")).json()["items"]
        if one["kind"] == "output"
    )
    found = (await world.api.get(f"/v1/artifacts/{made['sha256']}/info")).json()

    assert execution.status == "completed", execution.document["fault"]
    assert (found["kind"], found["execution_id"], found["step"]) == ("output", execution.id, "look")


async def test_what_cannot_be_an_input_is_said_before_the_task_is_accepted(api: Api) -> None:
    binary, large = b"\xff\xfe\x00", b"x" * (4 * 1024 * 1024 + 1)

    unknown = await look(api, csv=NAMED)
    no_text = await look(api, csv={"artifact": await upload(api, binary)})
    too_large = await look(api, csv={"artifact": await upload(api, large)})
    no_table = await look(api, csv={"artifact": await upload(api)}, rows=[{"a": 1}])
    too_many = await look(api, **{f"csv{number}": NAMED for number in range(21)})
    other = await look(api, csv={"artifact": DIGEST, "part": 1})

    assert DIGEST in problem_of(unknown, 404, "ARTIFACT_NOT_FOUND")["detail"]
    assert fields_of(problem_of(no_text, 422, "VALIDATION_ERROR")) == ["input.csv"]
    assert hashlib.sha256(large).hexdigest() in problem_of(too_large, 422, "VALIDATION_ERROR")["detail"]
    for refused in (no_table, too_many, other):
        problem_of(refused, 422, "VALIDATION_ERROR")
    assert (await api.get("/v1/tasks")).json()["items"] == []
