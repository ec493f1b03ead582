"""Every error a client sees: RFC 9457 `application/problem+json`, with the ``error`` member older clients read."""

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from http import HTTPStatus
from typing import Any
from urllib.parse import quote

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.routing import BaseRoute, Match
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.errors import Invalid, NotAuthenticated, OrchestratorError
from app.observability.logging import get_logger

PROBLEM_JSON = "application/problem+json"
MAX_FIELDS = 50
_METHODS = ("DELETE", "GET", "HEAD", "PATCH", "POST", "PUT")
TYPE_PREFIX = "urn:agent-orchestrator:error:"
_INTERNAL = "something went wrong on our side; tell us the request_id if it stays so"
_CODES = {401: "UNAUTHENTICATED", 413: "PAYLOAD_TOO_LARGE", 422: "VALIDATION_ERROR", 500: "INTERNAL"}
_UNREAD = frozenset({HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.LENGTH_REQUIRED, HTTPStatus.REQUEST_ENTITY_TOO_LARGE})

log = get_logger(__name__)


class ErrorBody(BaseModel):
    """What programs read: the stable code, a sentence for people, and what else is known."""

    code: str = Field(examples=["TASK_NOT_FOUND"])
    message: str
    details: Any = Field(
        None, description="Facts about the error; a list of {field, message, type} when input is invalid."
    )


class Problem(BaseModel):
    """RFC 9457 problem details."""

    type: str = Field(description="Identifies the kind of error; ends in its code.")
    title: str
    status: int
    detail: str
    instance: str = Field(description="The path that was asked for.")
    error: ErrorBody
    request_id: str | None = Field(None, description="Quote it when you report the problem.")


def problem_response(
    scope: Scope,
    *,
    status: int,
    code: str,
    title: str,
    message: str,
    details: Any = None,
    headers: Mapping[str, str] | None = None,
) -> Response:
    state = scope.setdefault("state", {})
    state["error_code"] = code
    problem = Problem(
        type=TYPE_PREFIX + code,
        title=title,
        status=status,
        detail=message,
        instance=quote(scope.get("path", ""), safe="/"),
        error=ErrorBody(code=code, message=message, details=details),
        request_id=state.get("request_id"),
    )
    # ASCII only: a message may quote text that UTF-8 cannot hold.
    content = json.dumps(problem.model_dump(), default=_type_name, separators=(",", ":"))
    return Response(content, status, headers, PROBLEM_JSON)


def _type_name(value: Any) -> str:
    return str(value) if hasattr(value, "isoformat") else type(value).__name__


def error_response(scope: Scope, error: OrchestratorError) -> Response:
    """The answer for an error we raised on purpose; what broke inside stays inside."""
    internal = error.status >= 500 and not error.retryable
    if internal:
        log.error("http.request_failed", code=error.code, exc_info=error)
    elif error.status >= 500:
        log.warning("http.dependency_failed", code=error.code, error=error, cause=error.__cause__)
    return problem_response(
        scope,
        status=error.status,
        code=error.code,
        title=error.title,
        message=_INTERNAL if internal else error.message,
        details=None if internal else _details(error),
        headers=_headers(error),
    )


def _details(error: OrchestratorError) -> Any:
    details = dict(error.details)
    if isinstance(error, Invalid) and "fields" in details:
        return details["fields"][:MAX_FIELDS]
    if isinstance(error, Invalid) and "field" in details:
        return [{"field": details["field"], "message": error.message, "type": details.get("type", "invalid")}]
    return details or None


def _headers(error: OrchestratorError) -> dict[str, str]:
    headers: dict[str, str] = {}
    if error.retry_after is not None:
        headers["Retry-After"] = str(max(1, math.ceil(error.retry_after.total_seconds())))
    if error.status in _UNREAD:
        # Otherwise the server would go on to swallow the rest of the body.
        headers["Connection"] = "close"
    if isinstance(error, NotAuthenticated):
        headers["WWW-Authenticate"] = 'Bearer realm="api"'
    return headers


def validation_response(scope: Scope, problems: Sequence[Mapping[str, Any]]) -> Response:
    """422 with one entry per field. What the client sent is never repeated, only the names of its fields."""
    fields = [_field_problem(problem) for problem in problems[:MAX_FIELDS]]
    first = fields[0] if fields else {"field": "body", "message": "invalid"}
    more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
    return problem_response(
        scope,
        status=422,
        code=Invalid.code,
        title=Invalid.title,
        message=f"{first['field']}: {first['message']}{more}",
        details=fields,
    )


def _field_problem(problem: Mapping[str, Any]) -> dict[str, str]:
    location, *path = [str(part)[:64] for part in problem["loc"]] or ["body"]
    message = str(problem["msg"]).removeprefix("Value error, ")
    return {
        "field": ".".join(path[:8]) or location,
        "message": message[:300],
        "type": str(problem["type"]),
        "location": location,
    }


def http_exception_response(scope: Scope, error: HTTPException, routes: Iterable[BaseRoute]) -> Response:
    """The framework's own refusals: unknown paths, wrong methods and the like."""
    title = HTTPStatus(error.status_code).phrase
    message, headers = error.detail, dict(error.headers or {})
    if error.status_code == HTTPStatus.NOT_FOUND and message == title:
        message = "there is nothing at this path"
    if error.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
        allowed = ", ".join(_allowed_methods(scope, routes)) or headers.get("Allow", "")
        headers["Allow"] = allowed
        message = f"this path answers {allowed}"
    code = _CODES.get(error.status_code) or HTTPStatus(error.status_code).name
    return problem_response(
        scope, status=error.status_code, code=code, title=title, message=str(message), headers=headers
    )


def _allowed_methods(scope: Scope, routes: Iterable[BaseRoute]) -> list[str]:
    # The framework names the methods of the first route only, when each has a function of its own.
    known = list(routes)
    return [
        method
        for method in _METHODS
        if any(route.matches({**scope, "method": method})[0] is Match.FULL for route in known)
    ]


def unexpected_response(scope: Scope, error: Exception) -> Response:
    log.error("http.request_failed", code=OrchestratorError.code, exc_info=error)
    return problem_response(
        scope, status=500, code=OrchestratorError.code, title=OrchestratorError.title, message=_INTERNAL
    )


def install_problem_handlers(app: FastAPI) -> None:
    """Answer errors raised in routes and dependencies; `ProblemEdge` does the same for everything around them."""

    async def ours(request: Request, error: Exception) -> Response:
        assert isinstance(error, OrchestratorError)  # noqa: S101 - registered for nothing else
        return error_response(request.scope, error)

    async def invalid(request: Request, error: Exception) -> Response:
        assert isinstance(error, RequestValidationError)  # noqa: S101 - registered for nothing else
        return validation_response(request.scope, error.errors())

    async def framework(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)  # noqa: S101 - registered for nothing else
        return http_exception_response(request.scope, error, app.routes)

    app.add_exception_handler(OrchestratorError, ours)
    app.add_exception_handler(RequestValidationError, invalid)
    app.add_exception_handler(HTTPException, framework)


class ProblemEdge:
    """The last stop of every exception: it becomes a problem response, or an aborted one when bytes are out already."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        started = False

        async def watching(message: Message) -> None:
            nonlocal started
            started = started or message["type"] == "http.response.start"
            await send(message)

        try:
            await self._app(scope, receive, watching)
        except Exception as error:
            if started:
                # The server closes the connection of an answer that was not completed, so the client notices.
                log.error("http.response_aborted", exc_info=error)
            else:
                await self._answer(scope, error)(scope, receive, send)

    @staticmethod
    def _answer(scope: Scope, error: Exception) -> Response:
        if isinstance(error, OrchestratorError):
            return error_response(scope, error)
        return unexpected_response(scope, error)
