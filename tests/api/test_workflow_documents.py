"""Documents over HTTP: what is taken as one, what is refused, and with which places."""

import io
import json

from app.ids import new_id
from app.workflows.definitions.models import SourceFormat
from app.workflows.definitions.routes import MAX_BYTES
from tests.api.harness import Api, problem_of
from tests.api.test_workflows import PATH, YAML, a_document, put, stored, validated

HOSTILE = [
    "[]",
    "a: &x [1]\nb: *x\n",
    "version: 1\nname: a\nname: b\n",
    '{"version": 1, "name": "a", "name": "b"}',
    '{"version": 1, "name": "\\ud800"}',
    '{"version": NaN}',
    '{"version": 1e999}',
    '{"version": ' + "9" * 5000 + "}",
    "[" * 5000,
    "\x00",
    "{",
]
MEDIA_TYPES = {
    "application/yaml": 201,
    "text/yaml; charset=utf-8": 200,
    "application/json": 200,
    "text/plain": 415,
    "application/yaml; charset=latin-1": 415,
}


async def test_an_invalid_document_is_refused_with_all_its_problems(api: Api) -> None:
    broken = a_document(agent="NobodyAgent").replace("needs: [say]", "needs: [sya]")

    body = problem_of(await put(api, broken), 422, "WORKFLOW_INVALID")

    problems = body["error"]["details"]["problems"]
    places = {broken.splitlines()[one["line"] - 1].split(":")[0].strip() for one in problems}
    assert places == {"agent", "needs"}
    assert all(one["message"] and one["column"] for one in problems)
    problem_of(await api.get(f"{PATH}/analysis"), 404, "WORKFLOW_NOT_FOUND")


async def test_a_validation_answers_what_storing_would_and_stores_nothing(api: Api) -> None:
    good = await validated(api, a_document())
    bad = await validated(api, a_document().replace("needs: [say]", "needs: [sya]"))

    assert (good["valid"], good["name"], good["problems"]) == (True, "analysis", [])
    assert (bad["valid"], bad["name"], bad["digest"]) == (False, None, None)
    assert any("say" in (one["fix"] or "") for one in bad["problems"])
    assert (await api.get(PATH)).json()["items"] == []
    assert (await stored(api))["digest"] == good["digest"]


async def test_what_no_reader_should_take_is_a_problem_with_a_place(api: Api) -> None:
    for text in HOSTILE:
        found = await validated(api, text)
        assert found["valid"] is False, text
        assert found["problems"][0]["line"] >= 1


async def test_a_body_of_a_megabyte_is_read_and_one_byte_more_is_not(api: Api) -> None:
    room = MAX_BYTES - len(a_document()) - len("#\n")
    exact = a_document() + "#" + "x" * room + "\n"

    assert (await put(api, exact)).status_code == 201
    problem_of(await put(api, exact + "x"), 413, "PAYLOAD_TOO_LARGE")


async def test_other_routes_keep_their_smaller_limit(api: Api) -> None:
    answer = await api.post("/v1/agent/execute", {"task": "x" * (MAX_BYTES - 100)})

    problem_of(answer, 413, "PAYLOAD_TOO_LARGE")


async def test_the_media_types_of_documents(api: Api) -> None:
    for media_type, status in MEDIA_TYPES.items():
        assert (await put(api, **{"Content-Type": media_type})).status_code == status, media_type


async def test_no_body_and_a_body_that_is_no_text_are_refused(api: Api) -> None:
    problem_of(await api.client.post(PATH), 422, "VALIDATION_ERROR")
    problem_of(await api.client.post(PATH, content=b" \n", headers=YAML), 422, "VALIDATION_ERROR")
    problem_of(await api.client.post(PATH, content=b"name: \xff", headers=YAML), 422, "VALIDATION_ERROR")


async def test_a_list_of_steps_in_json_is_translated_and_shown_translated(api: Api) -> None:
    short = {
        "name": "short",
        "steps": [
            {"name": "say", "agent_type": "echo", "input_mapping": {"task": "text"}, "output_mapping": {}},
            {"name": "again", "agent_type": "echo", "depends_on": ["say"], "timeout": 60},
        ],
    }

    answer = await api.post(PATH, short)

    assert answer.status_code == 201, answer.text
    found = answer.json()
    assert found["source_format"] == SourceFormat.JSON
    assert json.loads(found["source_text"]) == short
    assert found["document"]["version"] == 1
    assert found["document"]["steps"]["again"]["needs"] == ["say"]
    assert (await put(api, json.dumps(found["document"]))).json()["digest"] == found["digest"]


async def test_keys_that_mean_something_to_a_store_are_kept(api: Api) -> None:
    text = a_document().replace("emit: said", 'emit: said\n    with: {data: {"$set": 1, "a.b": {"$where": "x"}}}')

    assert (await stored(api, text))["document"]["steps"]["tell"]["with"] == {
        "data": {"$set": 1, "a.b": {"$where": "x"}}
    }


async def test_a_name_that_looks_like_an_id_is_refused(api: Api) -> None:
    name = "a" + new_id()[1:]

    problem_of(await put(api, a_document(name)), 422, "WORKFLOW_INVALID")


async def test_what_a_document_says_is_not_logged(api: Api, log: io.StringIO) -> None:
    await stored(api, a_document().replace("Says it again", "canary of a person"))
    await put(api, a_document().replace("needs: [say]", "needs: [canary_of_a_person]"))

    assert "/v1/workflows" in log.getvalue()
    assert "canary" not in log.getvalue()


async def test_what_a_document_calls_is_bounded_together(api: Api) -> None:
    inner = a_document("inner").replace("type: string}\n  rounds", "type: string, default: x}\n  rounds")
    for number in range(3):
        text = inner.replace("name: inner", f"name: large{number}") + "#" + "x" * (900 * 1024) + "\n"
        await stored(api, text)
    head, steps = ["version: 1", "name: outer", "steps:"], [f"  call{n}: {{workflow: large{n % 3}}}" for n in range(4)]

    fitting = await validated(api, "\n".join([*head, *steps[:2], "  again: {workflow: large0}", ""]))
    too_large = await validated(api, "\n".join([*head, *steps, ""]))

    assert fitting["valid"], fitting
    assert [problem["line"] for problem in too_large["problems"]] == [6]
    assert "together" in too_large["problems"][0]["message"]
