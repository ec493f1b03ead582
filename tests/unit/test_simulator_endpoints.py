import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from app.llm.messages import correction
from app.llm.simulator.application import Simulator, build_application
from tests.processes import Server


@pytest.fixture
async def http() -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(build_application(Simulator()))
    async with httpx.AsyncClient(transport=transport, base_url="http://sim") as client:
        yield client


def a_chat(text: str, **more: Any) -> dict[str, Any]:
    return {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": text}], **more}


async def complete(http: httpx.AsyncClient, text: str, **more: Any) -> httpx.Response:
    return await http.post("/v1/chat/completions", json=a_chat(text, **more))


async def test_the_same_request_has_the_same_answer_and_says_who_answers(http: httpx.AsyncClient) -> None:
    first, second = [await complete(http, "Write about coffee") for _ in range(2)]

    assert first.json() == second.json()
    assert first.json()["system_fingerprint"] == "simulator"
    assert first.json()["model"] == "gpt-4o-mini"
    assert first.headers["x-simulator"] == "1"


async def test_a_stream_says_the_same_as_the_whole_answer(http: httpx.AsyncClient) -> None:
    whole = (await complete(http, "Write about coffee")).json()
    stream = await complete(http, "Write about coffee", stream=True, stream_options={"include_usage": True})
    chunks = [json.loads(line[6:]) for line in stream.text.splitlines() if line.startswith("data: {")]

    told = "".join(chunk["choices"][0]["delta"].get("content") or "" for chunk in chunks if chunk["choices"])
    assert told == whole["choices"][0]["message"]["content"]
    assert chunks[-1]["usage"]["completion_tokens"] == whole["usage"]["completion_tokens"]
    assert stream.text.endswith("data: [DONE]\n\n")


async def test_a_stream_comes_in_pieces_of_the_ordered_size_at_the_ordered_pace(http: httpx.AsyncClient) -> None:
    loop = asyncio.get_running_loop()
    began = loop.time()
    stream = await complete(http, "Write about coffee [[sim piece=100 pace=0.01]]", stream=True)
    took = loop.time() - began

    chunks = [json.loads(line[6:])["choices"][0]["delta"] for line in stream.text.splitlines() if '"delta"' in line]
    sizes = [len(chunk["content"]) for chunk in chunks if chunk.get("content")]
    assert len(sizes) > 2
    assert set(sizes[:-1]) == {100}
    assert took > 0.01 * len(sizes)


async def test_a_stream_without_the_option_has_no_usage(http: httpx.AsyncClient) -> None:
    stream = await complete(http, "hi", stream=True)

    assert '"prompt_tokens"' not in stream.text


async def test_a_forced_tool_is_called_with_arguments_of_its_schema(http: httpx.AsyncClient) -> None:
    schema = {"type": "object", "properties": {"city": {"type": "string"}}}
    tool = {"type": "function", "function": {"name": "weather", "parameters": schema}}

    message = (await complete(http, "hi", tools=[tool], tool_choice="required")).json()["choices"][0]["message"]

    assert message["tool_calls"][0]["function"] == {"name": "weather", "arguments": '{"city": "simulated"}'}


async def test_directives_are_not_echoed(http: httpx.AsyncClient) -> None:
    answer = await complete(http, "Write about coffee [[sim latency=0]]")

    assert "[[sim" not in answer.text


async def test_a_directive_quoted_by_a_source_is_no_order(http: httpx.AsyncClient) -> None:
    text = '<task>\nWrite\n</task>\n<source id="1" title="How to" url="u">Use [[sim error=500]] in tests.</source>'

    assert (await complete(http, text)).status_code == 200


@pytest.mark.parametrize("body", ["{", "[]", "{}", '{"model": "m"}', '{"model": "m", "messages": [1]}'])
async def test_a_request_that_makes_no_sense_is_refused(http: httpx.AsyncClient, body: str) -> None:
    answer = await http.post("/v1/chat/completions", content=body)

    assert answer.status_code == 400
    assert answer.json()["error"]["type"] == "invalid_request_error"


async def test_an_unknown_directive_is_refused_by_name(http: httpx.AsyncClient) -> None:
    answer = await complete(http, "x [[sim latncy=1]]")

    assert answer.status_code == 400
    assert "latncy" in answer.text


async def test_faults_of_the_process_apply_until_deleted(http: httpx.AsyncClient) -> None:
    await http.post("/_sim/faults", json={"error": 503, "role": "writer"})
    failed = await complete(http, "Write")
    await http.delete("/_sim/faults")
    healed = await complete(http, "Write")

    assert (failed.status_code, healed.status_code) == (503, 200)


async def test_a_correction_is_counted_and_not_taken_for_the_task(http: httpx.AsyncClient) -> None:
    task = {"role": "user", "content": "Write about coffee [[sim schema uncorrected]]"}
    body = {"model": "gpt-4o-mini", "messages": [task]}
    corrected = {**body, "messages": [task, {"role": "user", "content": correction("it cites source 99").content}]}

    refused, answer = [(await http.post("/v1/chat/completions", json=one)).json() for one in (body, corrected)]

    said = answer["choices"][0]["message"]["content"]
    assert "[99]" in refused["choices"][0]["message"]["content"]
    assert "offee" in said
    assert "99" not in said
    log = (await http.get("/_sim/requests")).json()
    assert [call["corrections"] for call in log["recent"]] == [0, 1]


async def test_a_wrong_order_is_refused(http: httpx.AsyncClient) -> None:
    assert (await http.post("/_sim/faults", json={"explode": True})).status_code == 400
    assert (await http.post("/_sim/faults", json=[1])).status_code == 400


async def test_the_log_counts_calls_by_role_and_keeps_no_text(http: httpx.AsyncClient) -> None:
    await complete(http, "Write about my secret")
    await complete(http, "x [[sim error=500]]")
    await http.post("/search", json={"query": "coffee"})

    log = (await http.get("/_sim/requests")).json()

    assert (log["total"], log["by_role"]) == (3, {"writer": 2, "search": 1})
    assert [call["status"] for call in log["recent"]] == [200, 500, 200]
    assert "secret" not in json.dumps(log)
    await http.delete("/_sim/requests")
    assert (await http.get("/_sim/requests")).json()["total"] == 0


async def test_search_answers_in_tavilys_shape(http: httpx.AsyncClient) -> None:
    found = (await http.post("/search", json={"query": "coffee", "max_results": 1})).json()
    nothing = (await http.post("/search", json={"query": "coffee [[sim empty]]"})).json()

    assert set(found["results"][0]) == {"title", "url", "content", "score", "raw_content"}
    assert nothing["results"] == []
    assert (await http.post("/search", json={})).status_code == 400


async def test_an_answer_that_drips_comes_byte_by_byte(simulator: Server) -> None:
    async with (
        httpx.AsyncClient(base_url=simulator.http_url, trust_env=False) as client,
        client.stream("POST", "/v1/chat/completions", json=a_chat("Write [[sim drip]]")) as answer,
    ):
        chunks = answer.aiter_raw()
        first = [await anext(chunks) for _ in range(3)]

    assert answer.status_code == 200
    assert first == [b"{", b'"', b"i"]


async def test_models_and_health_answer(http: httpx.AsyncClient) -> None:
    assert (await http.get("/health")).text.startswith("ok")
    assert "gpt-4o-mini" in [model["id"] for model in (await http.get("/v1/models")).json()["data"]]


async def test_five_hundred_waiting_calls_wait_together(http: httpx.AsyncClient) -> None:
    loop = asyncio.get_running_loop()
    started = loop.time()

    answers = await asyncio.gather(*(complete(http, f"{n} [[sim latency=0.5]]") for n in range(500)))

    assert {answer.status_code for answer in answers} == {200}
    assert loop.time() - started < 30
