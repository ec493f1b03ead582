"""Workflows over HTTP: what is stored, versioned, shown and refused, and who may do what."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from app.ids import is_id, new_id
from app.workflows.definitions.models import SourceFormat
from app.workflows.definitions.schemas import (
    ValidationResponse,
    WorkflowListResponse,
    WorkflowResponse,
    WorkflowVersionsResponse,
)
from tests.api.conftest import StartApi
from tests.api.harness import Api, Json, conforms, problem_of

KEYS = "key-of-red:red:member,key-to-watch:red:viewer,key-of-blue:blue:member"
RED, WATCHER, BLUE = ({"X-API-Key": key} for key in ("key-of-red", "key-to-watch", "key-of-blue"))
PATH = "/v1/workflows"
YAML = {"Content-Type": "application/yaml"}
CALLING = """
version: 1
name: {name}
steps:
  call:
    workflow: {called}
"""


def a_document(name: str = "analysis", *, rounds: int = 3, agent: str = "EchoAgent") -> str:
    return f"""
# Written by people.
version: 1
name: {name}
description: Says it again.
inputs:
  text: {{type: string}}
  rounds: {{type: integer, default: {rounds}}}
steps:
  say:
    agent: {agent}
    with: {{task: "${{{{ inputs.text }}}}"}}
    output: {{raw_output: {{type: string}}}}
  tell:
    needs: [say]
    emit: said
outputs:
  said: "${{{{ steps.say.output.raw_output }}}}"
"""


async def put(api: Api, text: str | None = None, **headers: str) -> httpx.Response:
    content = (a_document() if text is None else text).encode("utf-8", "surrogatepass")
    return await api.client.post(PATH, content=content, headers={**YAML, **headers})


async def stored(api: Api, text: str | None = None, **headers: str) -> Json:
    answer = await put(api, text, **headers)
    assert answer.status_code in {200, 201}, answer.text
    found: Json = answer.json()
    return found


async def validated(api: Api, text: str) -> Json:
    answer = await api.client.post(f"{PATH}/validate", content=text.encode(), headers=YAML)
    assert answer.status_code == 200, answer.text
    conforms(ValidationResponse, answer.json())
    found: Json = answer.json()
    return found


@pytest.fixture
async def locked(start_api: StartApi) -> AsyncIterator[Api]:
    async with start_api(api_keys=KEYS) as api:
        yield api


async def test_a_stored_workflow_is_read_by_name_and_by_id(api: Api) -> None:
    answer = await put(api)
    created = answer.json()
    by_name = await api.get(f"{PATH}/analysis")
    by_id = await api.get(answer.headers["Location"])

    assert answer.status_code == 201
    conforms(WorkflowResponse, created)
    assert is_id(created["workflow_id"])
    assert by_name.json() == by_id.json() == created
    assert answer.headers["ETag"] == by_name.headers["ETag"] == f'"{created["digest"]}"'
    assert (created["name"], created["description"], created["current"]) == ("analysis", "Says it again.", True)
    assert created["source_text"] == a_document()
    assert created["source_format"] == SourceFormat.YAML
    assert created["document"]["steps"]["tell"] == {"needs": ["say"], "emit": "said"}


async def test_it_says_what_it_takes_and_gives_and_which_step_needs_which(api: Api) -> None:
    found = await stored(api)

    assert found["inputs"]["required"] == ["text"]
    assert found["inputs"]["properties"]["rounds"] == {"type": "integer", "default": 3}
    assert found["outputs"]["properties"]["said"] == {"anyOf": [{"type": "string"}, {"type": "null"}]}
    assert [(node["id"], node["kind"], node["target"]) for node in found["graph"]["nodes"]] == [
        ("say", "agent", "EchoAgent"),
        ("tell", "emit", "said"),
    ]
    assert found["graph"]["edges"] == [{"from": "say", "to": "tell"}]


async def test_the_same_document_again_is_the_same_version(api: Api) -> None:
    first = await put(api)
    again = await put(api)
    reworded = await put(api, a_document().replace("Written by people", "Reworded"))

    assert [answer.status_code for answer in (first, again, reworded)] == [201, 200, 200]
    assert first.json() == again.json() == reworded.json()


async def test_a_changed_document_is_a_new_version_and_the_old_one_stays(api: Api) -> None:
    first = await stored(api)
    answer = await put(api, a_document(rounds=4))
    second = answer.json()
    old = (await api.get(f"{PATH}/analysis", params={"version": first["digest"]})).json()

    assert answer.status_code == 201
    assert second["workflow_id"] == first["workflow_id"]
    assert second["digest"] != first["digest"]
    assert (old["current"], old["document"]) == (False, first["document"])
    assert [(one["digest"], one["current"]) for one in second["versions"]] == [
        (second["digest"], True),
        (first["digest"], False),
    ]


async def test_an_old_document_makes_its_version_the_current_one_again(api: Api) -> None:
    first = await stored(api)
    await stored(api, a_document(rounds=4))

    answer = await put(api)

    assert (answer.status_code, answer.json()["digest"]) == (200, first["digest"])
    assert (await api.get(f"{PATH}/analysis")).json()["digest"] == first["digest"]


async def test_of_many_who_store_the_same_at_once_one_is_first(api: Api) -> None:
    answers = await asyncio.gather(*(put(api) for _ in range(6)))

    assert sorted(answer.status_code for answer in answers) == [200] * 5 + [201]
    assert len({answer.json()["workflow_id"] for answer in answers}) == 1


async def test_only_the_version_that_was_meant_is_replaced(api: Api) -> None:
    first = await put(api)
    second = await put(api, a_document(rounds=4), **{"If-Match": first.headers["ETag"]})
    late = await put(api, a_document(rounds=5), **{"If-Match": first.headers["ETag"]})

    assert second.status_code == 201
    problem_of(late, 412, "WORKFLOW_CHANGED")
    versions = (await api.get(f"{PATH}/analysis/versions")).json()["items"]
    assert [one["digest"] for one in versions] == [second.json()["digest"], first.json()["digest"]]


async def test_of_two_who_replace_the_same_version_at_once_one_is_refused(api: Api) -> None:
    tag = (await put(api)).headers["ETag"]

    answers = await asyncio.gather(*(put(api, a_document(rounds=n), **{"If-Match": tag}) for n in (4, 5)))

    assert sorted(answer.status_code for answer in answers) == [201, 412]


async def test_a_condition_on_what_is_not_there_is_refused(api: Api) -> None:
    problem_of(await put(api, **{"If-Match": '"sha256:none"'}), 412, "WORKFLOW_CHANGED")
    problem_of(await api.get(f"{PATH}/analysis"), 404, "WORKFLOW_NOT_FOUND")


async def test_a_condition_that_is_no_etag_of_ours_is_refused(api: Api) -> None:
    for tag in ("*", "sha256:x", 'W/"sha256:x"', '"a", "b"', '""'):
        problem_of(await put(api, **{"If-Match": tag}), 422, "VALIDATION_ERROR")


async def test_a_sub_workflow_is_pinned_to_the_version_of_that_time(api: Api) -> None:
    inner = await stored(
        api, a_document("inner").replace("type: string}\n  rounds", "type: string, default: x}\n  rounds")
    )
    middle = await stored(api, CALLING.format(name="middle", called="inner"))
    newer = await stored(api, inner["source_text"].replace("default: 3", "default: 4"))
    outer = await stored(api, CALLING.format(name="outer", called="middle"))
    again = await put(api, CALLING.format(name="middle", called="inner"))

    assert middle["parts"] == [{"reference": "inner", "name": "inner", "digest": inner["digest"]}]
    assert outer["parts"] == [{"reference": "middle", "name": "middle", "digest": middle["digest"]}]
    assert again.status_code == 201
    assert again.json()["parts"][0]["digest"] == newer["digest"]
    assert again.json()["digest"] != middle["digest"]


async def test_a_sub_workflow_that_is_not_stored_or_of_another_tenant_is_a_problem(locked: Api) -> None:
    await stored(locked, a_document("inner"), **BLUE)

    for called in ("inner", "inner.yaml", "../inner.yaml", new_id()):
        body = problem_of(
            await put(locked, CALLING.format(name="outer", called=called), **RED), 422, "WORKFLOW_INVALID"
        )
        (problem,) = body["error"]["details"]["problems"]
        assert problem["line"] == 6, called


async def test_a_workflow_that_calls_itself_is_refused(api: Api) -> None:
    await stored(api, a_document("inner").replace("type: string}\n  rounds", "type: string, default: x}\n  rounds"))
    await stored(api, CALLING.format(name="outer", called="inner"))

    body = problem_of(await put(api, CALLING.format(name="inner", called="outer")), 422, "WORKFLOW_INVALID")

    assert "itself" in body["detail"]


async def test_a_deleted_workflow_is_gone_and_its_callers_keep_it(api: Api) -> None:
    text = a_document("inner").replace("type: string}\n  rounds", "type: string, default: x}\n  rounds")
    inner = await stored(api, text)
    outer = await stored(api, CALLING.format(name="outer", called="inner"))

    deleted = await api.client.delete(f"{PATH}/{inner['workflow_id']}")

    assert (deleted.status_code, deleted.content) == (204, b"")
    problem_of(await api.get(f"{PATH}/inner"), 404, "WORKFLOW_NOT_FOUND")
    problem_of(await api.get(f"{PATH}/inner", params={"version": inner["digest"]}), 404, "WORKFLOW_NOT_FOUND")
    problem_of(await api.client.delete(f"{PATH}/inner"), 404, "WORKFLOW_NOT_FOUND")
    assert [item["name"] for item in (await api.get(PATH)).json()["items"]] == ["outer"]
    assert (await validated(api, CALLING.format(name="another", called="outer")))["valid"]
    assert not (await validated(api, CALLING.format(name="another", called="inner")))["valid"]
    assert (await api.get(f"{PATH}/outer")).json() == outer
    back = await put(api, text)
    assert (back.status_code, back.json()["workflow_id"]) == (201, inner["workflow_id"])


async def test_workflows_and_versions_are_walked_by_cursor_without_gap_or_repetition(api: Api) -> None:
    names = [f"w{number}" for number in range(5)]
    for name in names:
        await stored(api, a_document(name))
    for rounds in (4, 5):
        await stored(api, a_document("w0", rounds=rounds))

    workflows = await walked(api, PATH, WorkflowListResponse)
    versions = await walked(api, f"{PATH}/w0/versions", WorkflowVersionsResponse)

    assert sorted(item["name"] for item in workflows) == names
    assert [item["current"] for item in versions] == [True, False, False]
    assert len({item["digest"] for item in versions}) == 3


async def walked(api: Api, path: str, model: Any) -> list[Json]:
    items: list[Json] = []
    cursor: dict[str, str] = {}
    while True:
        page = (await api.get(path, params={"page_size": 2, **cursor})).json()
        conforms(model, page)
        items += page["items"]
        if page["next_cursor"] is None:
            return items
        cursor = {"cursor": page["next_cursor"]}


async def test_a_viewer_reads_and_changes_nothing_and_another_tenant_sees_nothing(locked: Api) -> None:
    mine = await stored(locked, **RED)

    assert (await locked.get(f"{PATH}/analysis", headers=WATCHER)).json() == mine
    problem_of(await put(locked, a_document(rounds=4), **WATCHER), 403, "FORBIDDEN")
    problem_of(await locked.client.delete(f"{PATH}/analysis", headers=WATCHER), 403, "FORBIDDEN")
    for reference in ("analysis", mine["workflow_id"]):
        problem_of(await locked.get(f"{PATH}/{reference}", headers=BLUE), 404, "WORKFLOW_NOT_FOUND")
        problem_of(await locked.get(f"{PATH}/{reference}/versions", headers=BLUE), 404, "WORKFLOW_NOT_FOUND")
        problem_of(await locked.client.delete(f"{PATH}/{reference}", headers=BLUE), 404, "WORKFLOW_NOT_FOUND")
    assert (await locked.get(PATH, headers=BLUE)).json()["items"] == []
    theirs = await stored(locked, **BLUE)
    assert theirs["workflow_id"] != mine["workflow_id"]
    assert theirs["digest"] == mine["digest"]


async def test_a_workflow_is_drawn_with_what_it_calls(api: Api) -> None:
    await stored(api, a_document("called"))
    await stored(api, CALLING.format(name="calling", called="called") + "    with: {text: hello}\n")

    picture = await api.client.get(f"{PATH}/calling/graph", params={"format": "svg"})
    chart = await api.client.get(f"{PATH}/calling/graph")

    assert picture.headers["content-type"].startswith("image/svg+xml")
    assert "style-src 'unsafe-inline'" in picture.headers["content-security-policy"]
    assert ">workflow called</text>" in picture.text
    assert ">agent EchoAgent</text>" in picture.text
    assert chart.text.startswith("flowchart TD\n")
    problem_of(await api.client.get(f"{PATH}/calling/graph", params={"format": "png"}), 422, "VALIDATION_ERROR")
    problem_of(await api.client.get(f"{PATH}/unknown/graph"), 404, "WORKFLOW_NOT_FOUND")
