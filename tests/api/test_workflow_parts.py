"""Documents that call files, over HTTP: each file is a stored version, and what calls it says which."""

from collections.abc import AsyncIterator, Mapping
from pathlib import Path

import httpx
import pytest

from app.workflows.definitions.models import Pin
from app.workflows.definitions.pins import LONGEST_PIN, MOST_PINS, pin_text
from app.workflows.definitions.schemas import WorkflowResponse
from app.workflows.language.loading import Definition, load_workflow
from app.workflows.language.parts import FileParts
from tests.api.conftest import StartApi
from tests.api.harness import Api, Json, conforms, problem_of
from tests.api.test_workflows import BLUE, CALLING, KEYS, PATH, RED, YAML, a_document

INNER = a_document("inner").replace("{type: string}", "{type: string, default: x}", 1)
NEWER = INNER.replace("default: 3", "default: 4")
MIDDLE = CALLING.format(name="middle", called="inner.yaml")
OUTER = CALLING.format(name="outer", called="parts/middle.yaml")


@pytest.fixture
async def locked(start_api: StartApi) -> AsyncIterator[Api]:
    async with start_api(api_keys=KEYS) as api:
        yield api


async def send(
    api: Api, text: str, *parts: str, validate: bool = False, headers: Mapping[str, str] | None = None, **query: str
) -> httpx.Response:
    path, params = f"{PATH}/validate" if validate else PATH, {"part": list(parts), **query}
    return await api.client.post(path, content=text.encode(), params=params, headers={**YAML, **(headers or {})})


async def kept(api: Api, text: str, *parts: str, headers: Mapping[str, str] | None = None) -> Json:
    answer = await send(api, text, *parts, headers=headers, current="false")
    assert answer.status_code in {200, 201}, answer.text
    conforms(WorkflowResponse, answer.json())
    found: Json = answer.json()
    return found


def called(reference: str, version: Json) -> str:
    return pin_text(Pin(reference, version["name"], version["digest"]))


async def outer_of(api: Api) -> Json:
    middle = await kept(api, MIDDLE, called("inner.yaml", await kept(api, INNER)))
    answer = await send(api, OUTER, called("parts/middle.yaml", middle))
    assert answer.status_code == 201, answer.text
    found: Json = answer.json()
    return found


def locally(folder: Path) -> Definition:
    (folder / "parts").mkdir()
    (folder / "parts" / "inner.yaml").write_text(INNER, encoding="utf-8")
    (folder / "parts" / "middle.yaml").write_text(MIDDLE, encoding="utf-8")
    return load_workflow(OUTER, source="outer.yaml", resolve=FileParts(folder))


async def test_a_document_that_calls_files_has_the_digest_that_it_has_as_files(api: Api, tmp_path: Path) -> None:
    outer = await outer_of(api)

    read = (await api.get(f"{PATH}/outer")).json()

    assert outer["digest"] == locally(tmp_path).digest
    assert [(part["reference"], part["name"]) for part in outer["parts"]] == [("parts/middle.yaml", "middle")]
    assert read == outer
    assert [item["name"] for item in (await api.get(PATH)).json()["items"]] == ["outer"]


async def test_a_stored_document_is_called_by_name_with_the_files_that_it_calls(api: Api) -> None:
    outer = await outer_of(api)

    answer = await send(api, CALLING.format(name="above", called="outer"))

    assert answer.status_code == 201
    assert answer.json()["parts"] == [{"reference": "outer", "name": "outer", "digest": outer["digest"]}]


async def test_a_version_that_is_kept_leaves_the_name_as_it_was(api: Api) -> None:
    alone = await send(api, INNER, current="false")
    problem_of(await api.get(f"{PATH}/inner"), 404, "WORKFLOW_NOT_FOUND")
    first = (await send(api, INNER)).json()
    newer = await send(api, NEWER, current="false")
    again = await send(api, NEWER, current="false")

    assert (alone.status_code, newer.status_code, again.status_code) == (201, 201, 200)
    assert (alone.json()["workflow_id"], alone.json()["current"], alone.json()["versions"]) == (None, False, [])
    assert "Location" not in alone.headers
    assert (newer.json()["workflow_id"], newer.json()["current"]) == (first["workflow_id"], False)
    assert newer.headers["ETag"] == f'"{newer.json()["digest"]}"'
    assert (await api.client.get(newer.headers["Location"])).json() == newer.json()
    found = (await api.get(f"{PATH}/inner")).json()
    assert (found["digest"], len(found["versions"])) == (first["digest"], 1)
    assert (await send(api, NEWER)).status_code == 201
    assert (await api.get(f"{PATH}/inner")).json()["digest"] == newer.json()["digest"]


async def test_a_part_is_the_version_that_was_given_and_no_stored_name(api: Api) -> None:
    await send(api, INNER)
    newer = await kept(api, NEWER)
    text = CALLING.format(name="outer", called="inner")

    given = (await send(api, text, called("inner", newer))).json()
    validated = (await send(api, text, called("inner", newer), validate=True)).json()
    by_name = (await send(api, text)).json()

    assert given["parts"][0]["digest"] == newer["digest"]
    assert (validated["valid"], validated["digest"]) == (True, given["digest"])
    assert by_name["parts"][0]["digest"] != newer["digest"]


async def test_a_part_that_is_not_stored_is_a_problem_where_it_is_called(locked: Api) -> None:
    theirs = called("inner.yaml", await kept(locked, INNER, headers=BLUE))

    body = problem_of(await send(locked, MIDDLE, theirs, headers=RED), 422, "WORKFLOW_INVALID")
    answer = (await send(locked, MIDDLE, theirs, validate=True, headers=RED)).json()

    (problem,) = body["error"]["details"]["problems"]
    assert (problem["line"], problem["path"]) == (6, "steps.call.workflow")
    assert "store it first" in problem["message"]
    assert (answer["valid"], answer["problems"]) == (False, [problem])
    assert (await send(locked, MIDDLE, theirs, headers=BLUE)).status_code == 201


async def test_parts_are_those_of_the_document_and_not_of_what_it_calls(api: Api) -> None:
    inner = await kept(api, INNER)
    middle = await kept(api, MIDDLE, called("inner.yaml", inner))

    body = problem_of(
        await send(api, OUTER, called("parts/middle.yaml", middle), called("inner.yaml", inner)),
        422,
        "VALIDATION_ERROR",
    )

    assert "'inner.yaml'" in body["detail"]
    problem_of(await api.get(f"{PATH}/outer"), 404, "WORKFLOW_NOT_FOUND")


async def test_what_is_no_part_is_refused(api: Api) -> None:
    pin = called("inner.yaml", await kept(api, INNER))
    longest = f"inner.yaml=inner@sha256:{'0' * 64}".rjust(LONGEST_PIN + 1, "x")
    refused = [
        ["", "inner.yaml", "inner.yaml=inner", "=inner@sha256:" + "0" * 64, "inner.yaml=in/ner@sha256:" + "0" * 64],
        ["inner.yaml=inner@sha256:none", pin.upper(), pin + "\n", longest],
    ]

    for text in [one for many in refused for one in many]:
        problem_of(await send(api, MIDDLE, text), 422, "VALIDATION_ERROR")
        problem_of(await send(api, MIDDLE, text, validate=True), 422, "VALIDATION_ERROR")
    twice = problem_of(await send(api, MIDDLE, pin, pin), 422, "VALIDATION_ERROR")
    many = [pin.replace("inner.yaml", f"{number}.yaml") for number in range(MOST_PINS + 1)]
    problem_of(await send(api, MIDDLE, *many), 422, "VALIDATION_ERROR")

    assert "twice" in twice["detail"]
    assert (await send(api, MIDDLE, pin)).status_code == 201


async def test_a_reference_may_have_the_signs_that_stand_between(api: Api) -> None:
    inner = await kept(api, INNER)

    answer = await send(api, CALLING.format(name="outer", called="'a=b@c é.yaml'"), called("a=b@c é.yaml", inner))

    assert answer.status_code == 201, answer.text
    assert answer.json()["parts"][0]["reference"] == "a=b@c é.yaml"


async def test_a_condition_on_the_current_version_is_refused_for_a_version_that_is_kept(api: Api) -> None:
    answer = await send(api, INNER, headers={"If-Match": '"sha256:none"'}, current="false")

    problem_of(answer, 422, "VALIDATION_ERROR")
