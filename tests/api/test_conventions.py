"""What holds for every answer: problems, request ids, traces, CORS, rate limits, safe headers."""

import asyncio
import io
import json
from uuid import UUID

import pytest

from tests.api.conftest import StartApi
from tests.api.harness import NOBODY, Api, problem_of
from tests.api.routes import calls_of, values_of

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"


@pytest.mark.parametrize(
    "path", ["/", "/v1", "/v1/nothing", "/v2/tasks", "/v1/tasks/a/b/c", "/favicon.ico", "/%00", "/ü"]
)
async def test_an_unknown_path_is_a_problem(api: Api, path: str) -> None:
    problem_of(await api.get(path), 404, "NOT_FOUND")


async def test_a_method_a_path_does_not_know_is_a_problem_that_lists_those_it_knows(api: Api) -> None:
    # Behind a link nobody gets to who has none.
    for call in (one for one in calls_of(api.app) if "token" not in one.parameters):
        path = call.path(values_of(NOBODY))
        response = await api.client.request("PATCH", path)
        problem_of(response, 405, "METHOD_NOT_ALLOWED")
        assert call.method in response.headers["allow"]


@pytest.mark.parametrize("method", ["BREW", "TRACE", "PROPFIND", "get"])
async def test_a_method_nobody_knows_is_a_problem(api: Api, method: str) -> None:
    response = await api.client.request(method, "/v1/tasks")

    assert response.status_code in {200, 405} if method == "get" else response.status_code == 405
    if response.status_code == 405:
        problem_of(response, 405, "METHOD_NOT_ALLOWED")


async def test_a_request_id_of_the_client_is_given_back_and_kept(api: Api, log: io.StringIO) -> None:
    response = await api.execute(headers={"X-Request-Id": "my request #7"})

    assert response.headers["x-request-id"] == "my request #7"
    assert (await api.read(response.json()["task_id"]))["request_id"] == "my request #7"
    lines = [json.loads(line) for line in log.getvalue().splitlines()]
    assert any(line.get("request_id") == "my request #7" and line["event"] == "http.request" for line in lines)


@pytest.mark.parametrize(
    "given", [b"", b"x" * 129, b"a\tb", b"\xff", b"a\x7f", "é".encode()], ids=lambda given: ascii(given)[:12]
)
async def test_a_request_id_that_is_not_sane_is_replaced(api: Api, given: bytes) -> None:
    response = await api.client.get("/v1/tasks", headers=[(b"X-Request-Id", given)])

    assert UUID(response.headers["x-request-id"])


async def test_every_answer_has_a_request_id_errors_too(api: Api) -> None:
    answers = [await api.get(path) for path in ("/v1/tasks", "/health/live", "/nothing", f"/v1/tasks/{NOBODY}")]

    ids = [answer.headers["x-request-id"] for answer in answers]
    assert len(set(ids)) == 4
    assert answers[3].json()["request_id"] == ids[3]


async def test_the_trace_of_the_client_is_the_trace_of_the_task(api: Api) -> None:
    task_id = await api.submit(headers={"traceparent": f"00-{TRACE}-00f067aa0ba902b7-01"})

    assert (await api.read(task_id))["trace_id"] == TRACE


@pytest.mark.parametrize(
    "given",
    ["", "x", f"00-{'0' * 32}-00f067aa0ba902b7-01", f"00-{TRACE}-{'0' * 16}-01", f"ff-{TRACE}-00f067aa0ba902b7-01"],
)
async def test_a_trace_that_is_none_is_replaced_by_one_of_ours(api: Api, given: str) -> None:
    trace_id = (await api.read(await api.submit(headers={"traceparent": given})))["trace_id"]

    assert len(trace_id) == 32
    assert trace_id not in {TRACE, "0" * 32}


async def test_answers_of_the_api_are_neither_cached_nor_sniffed(api: Api) -> None:
    headers = (await api.get("/v1/tasks")).headers

    assert headers["cache-control"] == "no-store"
    assert headers["x-content-type-options"] == "nosniff"


async def test_too_many_requests_are_refused_with_the_time_to_wait(start_api: StartApi) -> None:
    async with start_api(api_rate_limit_per_minute=5) as api:
        answers = [await api.get("/v1/tasks") for _ in range(6)]

    assert [answer.status_code for answer in answers] == [200] * 5 + [429]
    refused = answers[-1]
    problem_of(refused, 429, "RATE_LIMIT_EXCEEDED")
    assert 1 <= int(refused.headers["retry-after"]) <= 120
    assert refused.headers["ratelimit-policy"] == '"default";q=5;w=60'
    assert refused.headers["ratelimit"].startswith('"default";r=0;t=')


async def test_the_limit_holds_over_all_processes(start_api: StartApi) -> None:
    async with start_api(api_rate_limit_per_minute=6) as one, start_api(api_rate_limit_per_minute=6) as other:
        answers = [await api.get("/v1/tasks") for _ in range(5) for api in (one, other)]

    assert sum(answer.status_code == 200 for answer in answers) == 6


async def test_each_key_has_a_limit_of_its_own(start_api: StartApi) -> None:
    async with start_api(api_rate_limit_per_minute=3, api_keys="key-number-1,key-number-2") as api:
        for _ in range(4):
            spent = await api.get("/v1/tasks", headers={"X-API-Key": "key-number-1"})
        other = await api.get("/v1/tasks", headers={"X-API-Key": "key-number-2"})

    assert (spent.status_code, other.status_code) == (429, 200)


async def test_guessing_keys_is_limited_and_does_not_lock_out_those_who_know_one(start_api: StartApi) -> None:
    async with start_api(api_rate_limit_per_minute=3, api_keys="key-number-1") as api:
        guesses = [await api.get("/v1/tasks", headers={"X-API-Key": f"guess-{n}"}) for n in range(5)]
        known = await api.get("/v1/tasks", headers={"X-API-Key": "key-number-1"})

    assert [guess.status_code for guess in guesses] == [401] * 3 + [429] * 2
    assert known.status_code == 200


async def test_health_checks_are_not_limited(start_api: StartApi) -> None:
    async with start_api(api_rate_limit_per_minute=1) as api:
        answers = [await api.get(path) for _ in range(5) for path in ("/health", "/health/live", "/metrics")]

    assert {answer.status_code for answer in answers} == {200}


async def test_a_forwarded_address_counts_only_from_a_known_proxy(start_api: StartApi) -> None:
    async with start_api(api_rate_limit_per_minute=2) as direct:
        spoofed = [await direct.get("/v1/tasks", headers={"X-Forwarded-For": f"10.0.0.{n}"}) for n in range(4)]
    async with start_api(api_rate_limit_per_minute=2, trusted_proxies="127.0.0.1") as proxied:
        told = [await proxied.get("/v1/tasks", headers={"X-Forwarded-For": f"10.0.1.{n}"}) for n in range(4)]

    assert [answer.status_code for answer in spoofed] == [200, 200, 429, 429]
    assert {answer.status_code for answer in told} == {200}


async def test_requests_at_once_do_not_slip_past_the_limit(start_api: StartApi) -> None:
    async with start_api(api_rate_limit_per_minute=10) as api:
        answers = await asyncio.gather(*(api.get("/v1/tasks") for _ in range(60)))

    # On a machine so busy that Redis seems to be away, this process counts by itself for a while.
    assert sum(answer.status_code == 200 for answer in answers) in range(10, 21)


async def test_a_browser_may_call_from_a_listed_origin_only(start_api: StartApi) -> None:
    ask = {
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "content-type,x-api-key,idempotency-key",
    }
    async with start_api(cors_origins="https://board.example", api_keys="key-number-1") as api:
        good = await api.client.options("/v1/agent/execute", headers={"Origin": "https://board.example", **ask})
        bad = await api.client.options("/v1/agent/execute", headers={"Origin": "https://evil.example", **ask})
        refused = await api.get("/v1/tasks", headers={"Origin": "https://board.example"})

    assert good.status_code == 200
    assert good.headers["access-control-allow-origin"] == "https://board.example"
    assert "access-control-allow-origin" not in bad.headers
    # An error must be readable too, or the page cannot tell why.
    assert refused.status_code == 401
    assert refused.headers["access-control-allow-origin"] == "https://board.example"


async def test_a_browser_may_read_the_headers_a_client_needs(start_api: StartApi) -> None:
    async with start_api(cors_origins="*") as api:
        response = await api.execute(headers={"Origin": "https://board.example"})

    exposed = {name.strip().lower() for name in response.headers["access-control-expose-headers"].split(",")}
    assert {"location", "retry-after", "x-request-id", "ratelimit", "ratelimit-policy", "preference-applied"} <= exposed


async def test_a_browser_may_read_whether_an_answer_was_a_repetition(start_api: StartApi) -> None:
    async with start_api(cors_origins="*") as api:
        response = await api.execute(headers={"Origin": "https://board.example"})

    assert "idempotent-replayed" in response.headers["access-control-expose-headers"].lower()


async def test_without_listed_origins_no_browser_is_told_anything(api: Api) -> None:
    response = await api.get("/v1/tasks", headers={"Origin": "https://board.example"})

    assert not [name for name in response.headers if name.startswith("access-control")]
