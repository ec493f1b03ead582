from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

import httpx
import pytest
from fastapi import APIRouter, FastAPI, Query
from fastapi.responses import StreamingResponse
from pydantic import BaseModel, field_validator
from starlette.exceptions import HTTPException
from structlog.testing import capture_logs

from app.errors import (
    Conflict,
    Invalid,
    NotAuthenticated,
    NotFound,
    NotPermitted,
    OrchestratorError,
    RateLimited,
    Unavailable,
)
from app.http.problems import PROBLEM_JSON, ProblemEdge, install_problem_handlers

CANARY = "canary-input"


class TaskNotFound(NotFound):
    code = "TASK_NOT_FOUND"


class Order(BaseModel):
    count: int
    name: str = "x"
    nested: list[dict[str, int]] = []

    @field_validator("name")
    @classmethod
    def _never(cls, name: str) -> str:
        if name != "x":
            raise ValueError("is not x")
        return name


def api(error: Exception | None = None) -> FastAPI:
    app = FastAPI()
    router = APIRouter(prefix="/v1/things")

    @router.get("/{thing_id}")
    async def get_thing(thing_id: str, size: Annotated[int, Query(le=10)] = 1) -> dict[str, Any]:
        if error is not None:
            raise error
        return {}

    @router.post("/{thing_id}")
    async def post_thing(thing_id: str, order: Order) -> dict[str, Any]:
        return {}

    app.include_router(router)
    install_problem_handlers(app)
    app.add_middleware(ProblemEdge)
    return app


async def ask(app: FastAPI, method: str = "GET", path: str = "/v1/things/1", **options: Any) -> httpx.Response:
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test") as client:
        return await client.request(method, path, **options)


async def test_an_error_of_ours_is_a_problem_with_the_member_older_clients_read() -> None:
    answer = await ask(api(TaskNotFound("no task with this id", task_id="1")))

    assert answer.status_code == 404
    assert answer.headers["content-type"] == PROBLEM_JSON
    assert answer.json() == {
        "type": "urn:agent-orchestrator:error:TASK_NOT_FOUND",
        "title": "Not found",
        "status": 404,
        "detail": "no task with this id",
        "instance": "/v1/things/1",
        "error": {"code": "TASK_NOT_FOUND", "message": "no task with this id", "details": {"task_id": "1"}},
        "request_id": None,
    }


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        (NotFound("x"), 404, "NOT_FOUND"),
        (Conflict("x"), 409, "CONFLICT"),
        (Invalid("x"), 422, "VALIDATION_ERROR"),
        (NotAuthenticated("x"), 401, "UNAUTHENTICATED"),
        (NotPermitted("x"), 403, "FORBIDDEN"),
        (RateLimited("x"), 429, "RATE_LIMIT_EXCEEDED"),
        (Unavailable("x"), 503, "SERVICE_UNAVAILABLE"),
        (OrchestratorError("x"), 500, "INTERNAL"),
        (RuntimeError("x"), 500, "INTERNAL"),
        (HTTPException(400), 400, "BAD_REQUEST"),
        (HTTPException(401), 401, "UNAUTHENTICATED"),
        (HTTPException(413), 413, "PAYLOAD_TOO_LARGE"),
        (HTTPException(415), 415, "UNSUPPORTED_MEDIA_TYPE"),
        (HTTPException(418), 418, "IM_A_TEAPOT"),
    ],
)
async def test_every_error_has_its_status_and_code(error: Exception, status: int, code: str) -> None:
    with capture_logs():
        answer = await ask(api(error))

    problem = answer.json()
    assert (answer.status_code, problem["status"], problem["error"]["code"]) == (status, status, code)
    assert answer.headers["content-type"] == PROBLEM_JSON
    assert problem["type"].endswith(code)


async def test_waiting_time_is_rounded_up_to_whole_seconds() -> None:
    answer = await ask(api(Unavailable("later", retry_after=timedelta(milliseconds=1200))))

    assert answer.headers["retry-after"] == "2"


async def test_a_missing_credential_is_told_which_scheme_to_use() -> None:
    answer = await ask(api(NotAuthenticated("send a key")))

    assert answer.headers["www-authenticate"].startswith("Bearer")


@pytest.mark.parametrize("error", [RuntimeError(CANARY), OrchestratorError(CANARY, path=CANARY)])
async def test_what_broke_inside_stays_inside_and_is_logged(error: Exception) -> None:
    with capture_logs() as logs:
        answer = await ask(api(error))

    assert CANARY not in answer.text
    assert "Traceback" not in answer.text
    assert logs[0]["event"] == "http.request_failed"
    assert logs[0]["exc_info"] is error


async def test_a_dependency_that_is_down_is_one_warning_not_a_traceback() -> None:
    with capture_logs() as logs:
        await ask(api(Unavailable("the store does not answer")))

    assert [(line["event"], line["log_level"]) for line in logs] == [("http.dependency_failed", "warning")]


async def test_an_invalid_field_of_ours_is_listed_like_the_frameworks() -> None:
    answer = await ask(api(Invalid("is blank", field="task", type="blank")))

    assert answer.json()["error"]["details"] == [{"field": "task", "message": "is blank", "type": "blank"}]


async def test_details_of_any_type_can_be_told() -> None:
    answer = await ask(api(Conflict("x", since=datetime(2026, 1, 1, tzinfo=UTC), thing=object())))

    assert answer.json()["error"]["details"] == {"since": "2026-01-01 00:00:00+00:00", "thing": "object"}


async def test_validation_lists_every_field_and_repeats_no_input() -> None:
    order = {"count": CANARY, "name": CANARY, "nested": [{"a": 1}, {"b": CANARY}]}

    answer = await ask(api(), "POST", json=order)

    assert answer.status_code == 422
    assert CANARY not in answer.text
    problem = answer.json()
    assert problem["error"]["code"] == "VALIDATION_ERROR"
    assert [(field["field"], field["type"], field["location"]) for field in problem["error"]["details"]] == [
        ("count", "int_parsing", "body"),
        ("name", "value_error", "body"),
        ("nested.1.b", "int_parsing", "body"),
    ]
    assert problem["error"]["details"][1]["message"] == "is not x"
    assert problem["detail"].endswith("(and 2 more)")


async def test_a_wrong_query_names_its_parameter() -> None:
    answer = await ask(api(), path="/v1/things/1?size=11")

    assert answer.json()["error"]["details"][0]["field"] == "size"
    assert answer.json()["error"]["details"][0]["location"] == "query"


async def test_a_thousand_wrong_fields_make_no_huge_answer() -> None:
    answer = await ask(api(), "POST", json={"count": 1, "nested": [{"a": "x"}] * 1000})

    assert len(answer.json()["error"]["details"]) == 50


async def test_an_unknown_path_answers_in_the_same_form() -> None:
    answer = await ask(api(), path="/nö where/<script>")

    assert answer.status_code == 404
    assert answer.json()["error"]["code"] == "NOT_FOUND"
    assert answer.json()["instance"] == "/n%C3%B6%20where/%3Cscript%3E"


async def test_a_wrong_method_names_all_that_the_path_answers() -> None:
    answer = await ask(api(), "DELETE")

    assert answer.status_code == 405
    assert answer.json()["error"]["code"] == "METHOD_NOT_ALLOWED"
    assert answer.headers["allow"] == "GET, POST"


async def test_an_answer_that_breaks_in_the_middle_is_aborted_and_logged_once() -> None:
    app = api()

    async def breaking() -> AsyncIterator[bytes]:
        yield b"some"
        raise RuntimeError("broken")

    @app.get("/stream")
    async def stream() -> StreamingResponse:
        return StreamingResponse(breaking())

    # The transport of the test insists on complete answers; a server closes the connection.
    with capture_logs() as logs, pytest.raises(AssertionError):
        await ask(app, path="/stream")

    assert [line["event"] for line in logs] == ["http.response_aborted"]
