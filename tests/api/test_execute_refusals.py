"""What `execute` refuses, each as a problem document that names the member."""

import json
from typing import Any

import httpx
import pytest

from tests.api.conftest import StartApi
from tests.api.harness import WRITING, Api, Json, fields_of, problem_of

JSON = {"Content-Type": "application/json"}


async def send(api: Api, text: str | bytes, **headers: str) -> httpx.Response:
    return await api.client.post("/v1/agent/execute", content=text, headers={**JSON, **headers})


async def nothing_was_stored(api: Api) -> bool:
    total: int = (await api.get("/v1/tasks")).json()["meta"]["total_items"]
    return total == 0


@pytest.mark.parametrize(
    "task",
    ["", " ", "\n\t ", "\u00a0\u2003", None, 7, 1.5, True, [], ["Write"], {"text": "Write"}],
    ids=lambda task: f"{type(task).__name__} {task!r}",
)
async def test_a_task_that_is_blank_or_no_text_is_refused(api: Api, task: Any) -> None:
    body = problem_of(await api.execute(task), 422, "VALIDATION_ERROR")

    assert fields_of(body) == ["task"]
    assert await nothing_was_stored(api)


@pytest.mark.parametrize("character", ["\x00", "\x01", "\x08", "\x0b", "\x1b", "\x7f"], ids=repr)
async def test_a_task_with_a_control_character_is_refused(api: Api, character: str) -> None:
    body = problem_of(await api.execute(f"Write{character} a post."), 422, "VALIDATION_ERROR")

    assert fields_of(body) == ["task"]


@pytest.mark.parametrize("character", ["\x80", "\x85", "\x9b"], ids=repr)
async def test_a_task_with_a_control_character_above_ascii_is_refused(api: Api, character: str) -> None:
    problem_of(await api.execute(f"Write{character} a post."), 422, "VALIDATION_ERROR")


@pytest.mark.parametrize("text", ["\u200b", "\u2060\ufeff", "\u200b \u200d"], ids=ascii)
async def test_a_task_nobody_can_see_is_blank(api: Api, text: str) -> None:
    problem_of(await api.execute(text), 422, "VALIDATION_ERROR")


@pytest.mark.parametrize("text", ["x" * (32 * 1024 + 1), "é" * (16 * 1024 + 1)], ids=["ASCII", "two bytes each"])
async def test_a_task_over_the_limit_is_refused_with_its_size(api: Api, text: str) -> None:
    body = problem_of(await api.execute(text), 422, "VALIDATION_ERROR")

    assert fields_of(body) == ["task"]
    assert "32768" in body["detail"]
    assert len(json.dumps(body)) < 2000


@pytest.mark.parametrize(
    "session_id",
    ["", " ", "a b", "-a", "a/b", "ä", "x" * 129, "a\n", 7, {"$gt": ""}, ["a"], "a\u0000"],
    ids=lambda session_id: f"{session_id!a:.20}",
)
async def test_a_bad_session_id_is_refused(api: Api, session_id: Any) -> None:
    body = problem_of(await api.execute(session_id=session_id), 422, "VALIDATION_ERROR")

    assert fields_of(body) == ["session_id"]


@pytest.mark.parametrize(
    ("member", "value"),
    [
        ("priority", -1),
        ("priority", 10),
        ("priority", "5"),
        ("priority", 5.5),
        ("priority", True),
        ("deadline_seconds", 0),
        ("deadline_seconds", -1),
        ("deadline_seconds", 7 * 86_400 + 1),
        ("deadline_seconds", "60"),
        ("deadline_seconds", True),
        ("agent", "NoSuchAgent"),
        ("agent", ""),
        ("agent", 7),
        ("agent", "x" * 65),
        ("metadata", []),
        ("metadata", "x"),
        ("budget", 5),
    ],
)
async def test_an_optional_member_out_of_bounds_is_refused_by_name(api: Api, member: str, value: Any) -> None:
    body = problem_of(await api.execute(**{member: value}), 422, "VALIDATION_ERROR")

    assert fields_of(body) == [member]
    assert await nothing_was_stored(api)


@pytest.mark.parametrize(
    "metadata",
    [{"$where": "1"}, {"a.b": 1}, {"": 1}, {"x" * 65: 1}, {"a": {"b": 1}}, {"a": [1]}, {"a": "x" * 4096}],
    ids=["operator", "dotted", "empty name", "long name", "nested", "list", "large"],
)
async def test_metadata_that_is_no_small_flat_label_is_refused(api: Api, metadata: Json) -> None:
    body = problem_of(await api.execute(metadata=metadata), 422, "VALIDATION_ERROR")

    assert fields_of(body)[0].startswith("metadata")


async def test_an_unknown_agent_is_refused_with_the_known_ones(api: Api) -> None:
    body = problem_of(await api.execute(agent="Poet"), 422, "VALIDATION_ERROR")

    assert "ContentAgent" in body["detail"]
    assert "CodeAgent" in body["detail"]


async def test_an_unknown_member_is_refused_by_name(api: Api) -> None:
    body = problem_of(await api.execute(prioritty=3), 422, "VALIDATION_ERROR")

    assert fields_of(body) == ["prioritty"]


async def test_every_wrong_member_is_listed(api: Api) -> None:
    body = problem_of(await api.execute("", priority=99, session_id="!", x=1), 422, "VALIDATION_ERROR")

    assert sorted(fields_of(body)) == ["priority", "session_id", "task", "x"]


@pytest.mark.parametrize("text", ["null", "[]", '"Write"', "7", "true", "{}", '[{"task": "Write"}]'])
async def test_json_that_is_no_task_is_refused(api: Api, text: str) -> None:
    problem_of(await send(api, text), 422, "VALIDATION_ERROR")


@pytest.mark.parametrize(
    "text",
    [
        "{",
        '{"task": "Write"',
        "{'task': 'Write'}",
        '{"task": "Write",}',
        '{"task": "Wri\nte"}',
        '{"task": "Write"} x',
        '{"task": "a", "task": "b"}',
        '{"task": NaN}',
        '{"task": "x", "priority": 1e999}',
        '{"task": "x", "priority": 99999999999999999999}',
        '{"task": "x", "priority": ' + "9" * 10_000 + "}",
        '{"task": "\\ud800"}',
        '{"\\ud800": "x"}',
        '{"task": "x", "metadata": {"a": "\\udfff"}}',
        b'{"task": "\xff"}',
        b'{"task": "\xed\xa0\x80"}',
        b'\xef\xbb\xbf{"task": "x"}',
        '{"task": "x"}'.encode("utf-16"),
    ],
    ids=lambda text: ascii(text)[:30],
)
async def test_broken_or_ambiguous_json_is_refused(api: Api, text: str | bytes) -> None:
    problem_of(await send(api, text), 422, "VALIDATION_ERROR")
    assert await nothing_was_stored(api)


@pytest.mark.parametrize("opening", ["[", '{"a":'], ids=["lists", "objects"])
async def test_deeply_nested_json_is_refused_and_harms_nobody(api: Api, opening: str) -> None:
    body = problem_of(await send(api, opening * 40_000), 422, "VALIDATION_ERROR")

    assert "nested" in body["detail"]
    assert (await api.execute()).status_code == 202


async def test_an_empty_body_is_refused(api: Api) -> None:
    problem_of(await send(api, b""), 422, "VALIDATION_ERROR")


@pytest.mark.parametrize(
    "media_type",
    ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", "application/xml", "", "json"],
)
async def test_another_content_type_is_refused(api: Api, media_type: str) -> None:
    response = await send(api, json.dumps({"task": WRITING}), **{"Content-Type": media_type})

    problem_of(response, 415, "UNSUPPORTED_MEDIA_TYPE")


@pytest.mark.parametrize("media_type", ["application/json; charset=utf-8", "APPLICATION/JSON", "application/json ;x=y"])
async def test_json_by_any_spelling_is_accepted(api: Api, media_type: str) -> None:
    response = await send(api, json.dumps({"task": WRITING}), **{"Content-Type": media_type})

    assert response.status_code == 202


async def test_a_body_over_the_limit_is_refused(api: Api) -> None:
    response = await send(api, b'{"task": "' + b"x" * 300_000 + b'"}')

    problem_of(response, 413, "PAYLOAD_TOO_LARGE")


async def test_a_body_over_the_limit_that_announces_nothing_is_refused(api: Api) -> None:
    async def endless() -> Any:
        while True:
            yield b"x" * 65_536

    response = await api.client.post("/v1/agent/execute", content=endless(), headers=JSON)

    problem_of(response, 413, "PAYLOAD_TOO_LARGE")


async def test_the_limits_are_configurable(start_api: StartApi) -> None:
    async with start_api(max_task_bytes=10, max_body_bytes=1024) as api:
        problem_of(await api.execute("12345678901"), 422, "VALIDATION_ERROR")
        problem_of(await api.execute("x" * 1024), 413, "PAYLOAD_TOO_LARGE")

        assert (await api.execute("1234567890")).status_code == 202


@pytest.mark.parametrize("key", ["", "x" * 256, "naïve", "a\tb"], ids=["empty", "long", "not ASCII", "control"])
async def test_a_bad_idempotency_key_is_refused(api: Api, key: str) -> None:
    response = await api.client.post(
        "/v1/agent/execute", json={"task": WRITING}, headers=[(b"Idempotency-Key", key.encode())]
    )

    body = problem_of(response, 422, "VALIDATION_ERROR")
    assert fields_of(body) == ["Idempotency-Key"]


async def test_a_tiny_deadline_is_still_a_deadline(api: Api) -> None:
    response = await api.execute(deadline_seconds=1e-7)

    assert response.status_code == 422 or (await api.read(response.json()["task_id"]))["deadline_at"] is not None


async def test_what_a_client_sent_is_not_repeated_in_a_refusal(api: Api) -> None:
    response = await api.execute("\x00 secret-canary", session_id="secret-canary!", agent="secret-canary")

    assert response.status_code == 422
    assert "secret-canary" not in response.text
