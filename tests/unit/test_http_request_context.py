import json
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from fastapi import APIRouter, FastAPI, Request
from fastapi.responses import JSONResponse, StreamingResponse
from starlette.types import Message
from structlog.testing import capture_logs

from app.http.problems import ProblemEdge, install_problem_handlers
from app.http.request_context import RequestContext
from app.observability.context import current_fields, current_request_id, current_trace_id, current_traceparent
from app.observability.metrics import Metrics

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"


def api(metrics: Metrics | None = None) -> FastAPI:
    app = FastAPI()
    inner, outer = APIRouter(prefix="/things"), APIRouter(prefix="/v1")

    @inner.get("/{thing_id}")
    async def get_thing(request: Request, thing_id: str) -> dict[str, Any]:
        return {
            "state": [request.state.request_id, request.state.trace_id],
            "context": [current_request_id(), current_trace_id()],
            "traceparent": current_traceparent(),
        }

    @inner.get("/{thing_id}/broken")
    async def break_thing(thing_id: str) -> None:
        raise RuntimeError("broken")

    @inner.get("/{thing_id}/cached")
    async def cached(thing_id: str) -> JSONResponse:
        return JSONResponse({}, headers={"Cache-Control": "max-age=5"})

    @inner.get("/{thing_id}/events")
    async def events(thing_id: str) -> StreamingResponse:
        async def two() -> AsyncIterator[bytes]:
            yield b"data: 1\n\n"
            yield b"data: 2\n\n"

        return StreamingResponse(two(), media_type="text/event-stream")

    @app.get("/health")
    async def health() -> str:
        return "ok"

    outer.include_router(inner)
    app.include_router(outer)
    install_problem_handlers(app)
    app.add_middleware(ProblemEdge)
    app.add_middleware(RequestContext, metrics=metrics or Metrics())
    return app


async def ask(app: FastAPI, path: str, headers: dict[str, str] | None = None, method: str = "GET") -> httpx.Response:
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test") as client:
        return await client.request(method, path, headers=headers)


async def test_a_sane_request_id_is_kept_and_on_the_answer_the_state_and_the_context() -> None:
    answer = await ask(api(), "/v1/things/1", {"X-Request-Id": "order 66/a"})

    assert answer.headers["x-request-id"] == "order 66/a"
    assert answer.json()["state"][0] == answer.json()["context"][0] == "order 66/a"


@pytest.mark.parametrize("wrong", ["", "x" * 129, "tab\there", "ü"])
async def test_another_one_is_replaced(wrong: str) -> None:
    transport = httpx.ASGITransport(api())
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
        answer = await client.get("/v1/things/1", headers=[(b"x-request-id", wrong.encode("latin-1"))])

    assert len(answer.headers["x-request-id"]) == 36


async def test_the_callers_trace_goes_on_with_a_span_of_ours() -> None:
    answer = await ask(api(), "/v1/things/1", {"traceparent": f"00-{TRACE}-{SPAN}-01"})

    assert answer.json()["context"][1] == answer.json()["state"][1] == TRACE
    assert answer.json()["traceparent"].startswith(f"00-{TRACE}-")
    assert SPAN not in answer.json()["traceparent"]


async def test_without_a_valid_trace_a_new_one_begins() -> None:
    first = await ask(api(), "/v1/things/1", {"traceparent": "rubbish"})
    second = await ask(api(), "/v1/things/1")

    assert len(first.json()["context"][1]) == 32
    assert first.json()["context"][1] != second.json()["context"][1]


async def test_one_line_per_request_names_the_route_not_the_path() -> None:
    with capture_logs() as logs:
        await ask(api(), "/v1/things/secret-id?token=abc")

    (line,) = logs
    assert line["event"] == "http.request"
    assert (line["method"], line["endpoint"], line["status_code"]) == ("GET", "/v1/things/{thing_id}", 200)
    assert line["duration_ms"] > 0
    assert "secret-id" not in json.dumps(line)
    assert "abc" not in json.dumps(line)


async def test_an_error_line_has_the_code_and_an_unknown_path_is_shown_cut() -> None:
    with capture_logs() as logs:
        await ask(api(), "/" + "x" * 500)

    assert (logs[0]["endpoint"], logs[0]["error_code"]) == ("unmatched", "NOT_FOUND")
    assert len(logs[0]["path"]) == 128


async def test_a_path_that_is_a_credential_is_not_logged() -> None:
    with capture_logs() as logs:
        await ask(api(), "/v1/approvals/links/signed.token")

    assert logs[0]["path"] == "/v1/approvals/links/"


async def test_a_failure_is_answered_logged_and_counted_with_its_request_id() -> None:
    metrics = Metrics()

    with capture_logs() as logs:
        answer = await ask(api(metrics), "/v1/things/1/broken", {"X-Request-Id": "r1"})

    assert answer.status_code == 500
    assert answer.json()["request_id"] == answer.headers["x-request-id"] == "r1"
    assert [(line["event"], line["log_level"]) for line in logs] == [
        ("http.request_failed", "error"),
        ("http.request", "warning"),
    ]
    assert 'endpoint="/v1/things/{thing_id}/broken",method="GET",status="500"' in metrics.expose().decode()


async def test_probes_are_counted_but_not_logged_at_info() -> None:
    with capture_logs() as logs:
        await ask(api(), "/health")

    assert [line["log_level"] for line in logs] == ["debug"]


async def test_nothing_of_a_request_is_left_in_the_context() -> None:
    await ask(api(), "/v1/things/1")

    assert not current_fields()
    assert current_traceparent() is None


async def test_answers_of_the_api_are_never_stored_or_sniffed() -> None:
    answer = await ask(api(), "/v1/things/1")

    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["cache-control"] == "no-store"
    assert "default-src 'none'" in answer.headers["content-security-policy"]


async def test_a_header_the_route_set_is_kept() -> None:
    answer = await ask(api(), "/v1/things/1/cached")

    assert answer.headers.get_list("cache-control") == ["max-age=5"]


async def test_a_stream_passes_piece_by_piece_and_is_not_timed() -> None:
    metrics, sent = Metrics(), []
    scope = {
        "type": "http", "method": "GET", "path": "/v1/things/1/events", "query_string": b"", "headers": [],
        "http_version": "1.1", "scheme": "http", "server": ("test", 80), "client": ("1.2.3.4", 1), "root_path": "",
        "asgi": {"version": "3.0", "spec_version": "2.4"},
    }  # fmt: skip

    async def receive() -> Message:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Message) -> None:
        sent.append(message)

    await api(metrics)(scope, receive, send)

    assert [message["body"] for message in sent[1:]] == [b"data: 1\n\n", b"data: 2\n\n", b""]
    assert "http_requests_total{" in metrics.expose().decode()
    assert "http_request_duration_seconds_count{" not in metrics.expose().decode()


async def test_a_client_that_went_away_is_recorded_as_such() -> None:
    metrics = Metrics()

    async def app(*_: Any) -> None:
        return None

    context = RequestContext(app, metrics=metrics)
    with capture_logs() as logs:
        await context({"type": "http", "method": "GET", "path": "/v1/x", "headers": []}, app, app)  # type: ignore[arg-type]

    assert logs[0]["status_code"] == 499
