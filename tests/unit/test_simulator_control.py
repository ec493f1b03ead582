"""The scenario of a running simulator, as programs on its machine set it, and how its faults look on the wire."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest

from app.llm.simulator.application import Simulator, build_application
from app.llm.simulator.scenario_files import load_scenario
from tests.processes import Server

FLAKY = {"name": "mine", "description": "Mine.", "rules": [{"name": "down", "then": {"error": 503}}]}


@asynccontextmanager
async def a_client(simulator: Simulator, *, address: str = "127.0.0.1") -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(build_application(simulator), client=(address, 40_000))
    async with httpx.AsyncClient(transport=transport, base_url="http://sim") as client:
        yield client


@pytest.fixture
async def http() -> AsyncIterator[httpx.AsyncClient]:
    async with a_client(Simulator()) as client:
        yield client


async def complete(http: httpx.AsyncClient, text: str = "Write about tea", **more: Any) -> httpx.Response:
    body = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": text}], **more}
    return await http.post("/v1/chat/completions", json=body)


async def receive(http: httpx.AsyncClient, text: str, received: list[bytes], *, stream: bool) -> None:
    """Fills ``received`` with what comes."""
    body = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": text}], "stream": stream}
    async with http.stream("POST", "/v1/chat/completions", json=body) as answer:
        async for part in answer.aiter_raw():
            received += [part]


async def play(http: httpx.AsyncClient, scenario: Any, **more: Any) -> httpx.Response:
    return await http.post("/_sim/scenario", json={"scenario": scenario, **more})


async def test_a_scenario_plays_until_it_is_taken_away(http: httpx.AsyncClient) -> None:
    played = await play(http, FLAKY, seed=7)
    failed = await complete(http)
    shown = (await http.get("/_sim/scenario")).json()
    await http.delete("/_sim/scenario")
    healed = await complete(http)

    assert (played.status_code, failed.status_code, healed.status_code) == (200, 503, 200)
    assert (shown["scenario"]["name"], shown["seed"], shown["fired"]) == ("mine", 7, {"down": 1})
    assert (await http.get("/_sim/scenario")).json()["scenario"]["name"] == "calm"


async def test_the_log_names_the_rules_that_showed(http: httpx.AsyncClient) -> None:
    await complete(http)
    await play(http, FLAKY)
    await complete(http)

    log = (await http.get("/_sim/requests")).json()

    assert [call["rules"] for call in log["recent"]] == [[], ["down"]]


async def test_a_simulator_can_start_with_a_scenario() -> None:
    async with a_client(Simulator(scenario=load_scenario("slow"), seed=3)) as http:
        shown = (await http.get("/_sim/scenario")).json()

    assert (shown["scenario"]["name"], shown["seed"]) == ("slow", 3)


@pytest.mark.parametrize(
    ("order", "told"),
    [
        ({"scenario": "stormy"}, "stormy"),
        ({"scenario": "/etc/hostname"}, "there is no scenario"),
        ({"scenario": {**FLAKY, "rules": [{"name": "x", "then": {}}]}}, "rules.0.then: say what happens"),
        ({"scenario": "calm", "seed": -1}, "seed"),
        ({"scenario": "calm", "seed": True}, "seed"),
        ({"scenarios": "calm"}, "scenario"),
        ([], "scenario"),
    ],
    ids=str,
)
async def test_a_wrong_order_changes_nothing_and_is_told_why(http: httpx.AsyncClient, order: Any, told: str) -> None:
    await play(http, FLAKY)

    refused = await http.post("/_sim/scenario", json=order)

    assert refused.status_code == 400
    assert told in refused.json()["error"]["message"]
    assert (await http.get("/_sim/scenario")).json()["scenario"]["name"] == "mine"
    assert (await http.post("/_sim/scenario", content="{")).status_code == 400


@pytest.mark.parametrize("address", ["192.0.2.7", "::ffff:192.0.2.7", "2001:db8::1", "unknown"])
async def test_only_programs_on_the_same_machine_may_order_faults(address: str) -> None:
    async with a_client(Simulator(), address=address) as stranger:
        answers = [
            await play(stranger, FLAKY),
            await stranger.post("/_sim/faults", json={"error": 500}),
            await stranger.get("/_sim/requests"),
        ]
        asked = await complete(stranger)

    assert [answer.status_code for answer in answers] == [403, 403, 403]
    assert asked.status_code == 200


@pytest.mark.parametrize("address", ["::1", "::ffff:127.0.0.1"])
async def test_loopback_of_either_protocol_is_the_same_machine(address: str) -> None:
    async with a_client(Simulator(), address=address) as client:
        assert (await client.get("/_sim/scenario")).status_code == 200


async def test_what_a_message_orders_goes_before_the_scenario(http: httpx.AsyncClient) -> None:
    await play(http, FLAKY)

    ordered = await complete(http, "Write [[sim error=401]]")
    refused = await complete(http, "Write [[sim refuse]]")

    assert (ordered.status_code, refused.status_code) == (401, 200)
    assert refused.json()["choices"][0]["message"]["refusal"]


@pytest.mark.parametrize("stream", [False, True])
async def test_a_dropped_answer_comes_in_part_and_the_connection_ends(simulator: Server, stream: bool) -> None:
    received: list[bytes] = []
    async with httpx.AsyncClient(base_url=simulator.http_url, trust_env=False) as http:
        whole = await complete(http, stream=stream)
        with pytest.raises(httpx.RemoteProtocolError):
            await receive(http, "Write about tea [[sim drop after=0.5]]", received, stream=stream)

    assert 0 < len(b"".join(received)) < len(whole.content)
    assert b'"finish_reason": "stop"' not in b"".join(received)
    assert b"[DONE]" not in b"".join(received)
    assert "returned without completing" not in simulator.process.read()


async def test_a_stalled_stream_stays_open_until_the_client_goes(simulator: Server) -> None:
    received: list[bytes] = []
    async with httpx.AsyncClient(base_url=simulator.http_url, trust_env=False, timeout=0.3) as http:
        with pytest.raises(httpx.ReadTimeout):
            await receive(http, "Write about tea [[sim stall after=0.5]]", received, stream=True)

    assert b'"content": "' in b"".join(received)
    assert b"[DONE]" not in b"".join(received)


@pytest.mark.parametrize(
    ("directive", "said"),
    [
        ("malformed", 'data: {"id": "chatcmpl-simulated", "choi\n\n'),
        ("nochoices", "data: [DONE]\n\n"),
    ],
)
async def test_a_stream_can_be_unreadable_or_empty(http: httpx.AsyncClient, directive: str, said: str) -> None:
    answer = await complete(http, f"Write [[sim {directive}]]", stream=True)

    assert answer.headers["content-type"].startswith("text/event-stream")
    assert answer.text == said


async def test_garbled_json_says_that_it_is_whole(http: httpx.AsyncClient) -> None:
    answer = await complete(http, "x [[sim garbled]]", response_format={"type": "json_object"})
    choice = answer.json()["choices"][0]

    assert choice["finish_reason"] == "stop"
    assert choice["message"]["content"] == "{"


async def test_cut_off_arguments_of_a_tool_end_with_length(http: httpx.AsyncClient) -> None:
    tool = {"type": "function", "function": {"name": "note", "parameters": {"type": "object"}}}

    answer = await complete(http, 'call note {"text": "tea"} [[sim length]]', tools=[tool])

    choice = answer.json()["choices"][0]
    assert choice["finish_reason"] == "length"
    assert choice["message"]["tool_calls"][0]["function"]["arguments"] == '{"text"'
