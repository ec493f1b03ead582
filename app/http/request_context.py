"""The outermost layer: every request gets an id and a trace, one log line, its metrics and safe headers."""

import re
import secrets
from time import perf_counter
from typing import Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.ids import new_id, new_trace_id
from app.observability.context import enter, enter_trace, leave, leave_trace
from app.observability.logging import get_logger
from app.observability.metrics import Metrics
from app.observability.tracing import TraceContext, parse_traceparent

UNMATCHED = "unmatched"
# Probes and scrapes would be most of the log of an idle system.
_ROUTINE = frozenset({"/health", "/health/live", "/health/ready", "/metrics"})
_SANE_ID = re.compile(r"[ -~]{1,128}")
_CLIENT_WENT_AWAY = 499
_LINK = "/v1/approvals/links/"
_MAX_PATH = 128
_SAFE_HEADERS = [(b"x-content-type-options", b"nosniff"), (b"referrer-policy", b"no-referrer")]
_API_HEADERS = [
    (b"cache-control", b"no-store"),
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
]

log = get_logger(__name__)


class RequestContext:
    """Pure ASGI, so that streams pass unbuffered. ``request.state`` gets ``request_id`` and ``trace_id``."""

    def __init__(self, app: ASGIApp, *, metrics: Metrics) -> None:
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request_id, trace = _identify(scope)
        scope.setdefault("state", {}).update(request_id=request_id, trace_id=trace.trace_id)
        exchange = _Exchange(scope, request_id, send)
        fields, active = enter({"request_id": request_id, "trace_id": trace.trace_id}), enter_trace(trace)
        try:
            await self._app(scope, receive, exchange.send)
        finally:
            self._record(scope, exchange)
            leave_trace(active)
            leave(fields)

    def _record(self, scope: Scope, exchange: "_Exchange") -> None:
        seconds, endpoint = perf_counter() - exchange.began, route_template(scope)
        self._metrics.request_answered(
            scope["method"], endpoint, exchange.status, None if exchange.is_stream else seconds
        )
        report = log.debug if endpoint in _ROUTINE else log.warning if exchange.status >= 500 else log.info
        report(
            "http.request",
            method=scope["method"],
            endpoint=endpoint,
            status_code=exchange.status,
            duration_ms=round(seconds * 1000, 3),
            **_particulars(scope, endpoint),
        )


class _Exchange:
    """One answer on its way out: notes its status, adds our headers."""

    __slots__ = ("_request_id", "_scope", "_send", "began", "is_stream", "status")

    def __init__(self, scope: Scope, request_id: str, send: Send) -> None:
        self._scope, self._send = scope, send
        self._request_id = request_id.encode("ascii")
        self.began = perf_counter()
        self.status = _CLIENT_WENT_AWAY
        self.is_stream = False

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            headers = list(message.get("headers", ()))
            present = {name.lower(): value for name, value in headers}
            self.is_stream = present.get(b"content-type", b"").startswith(b"text/event-stream")
            headers.append((b"x-request-id", self._request_id))
            headers.extend(header for header in self._added() if header[0] not in present)
            message["headers"] = headers
        await self._send(message)

    def _added(self) -> list[tuple[bytes, bytes]]:
        return _SAFE_HEADERS + _API_HEADERS if self._scope["path"].startswith("/v1/") else _SAFE_HEADERS


def _identify(scope: Scope) -> tuple[str, TraceContext]:
    request_id, parent = "", None
    for name, value in scope["headers"]:
        if name == b"x-request-id":
            request_id = value.decode("latin-1")
        elif name == b"traceparent":
            parent = parse_traceparent(value.decode("latin-1"))
    if not _SANE_ID.fullmatch(request_id):
        request_id = new_id()
    span_id = secrets.token_hex(8)
    return request_id, parent.child(span_id) if parent else TraceContext(new_trace_id(), span_id)


def route_template(scope: Scope) -> str:
    """``/v1/tasks/{task_id}`` of a routed request, so that labels and log fields stay few and hold no ids."""
    # FastAPI keeps the path with the prefixes of all including routers here, and only here.
    routed = scope.get("fastapi", {}).get("effective_route_context") or scope.get("route")
    template = getattr(routed, "path_format", None)
    if template is not None:
        return str(template)
    is_fixed = "endpoint" in scope and not scope.get("path_params")
    return str(scope["path"]) if is_fixed else UNMATCHED


def _particulars(scope: Scope, endpoint: str) -> dict[str, Any]:
    """What only some lines have: the code of an error, and the path where no route was reached."""
    code = scope["state"].get("error_code")
    fields = {"error_code": code} if code else {}
    return fields if endpoint != UNMATCHED else {**fields, "path": _without_token(scope["path"])[:_MAX_PATH]}


def _without_token(path: str) -> str:
    """A path that is a credential itself stays out of the log."""
    return _LINK if path.startswith(_LINK) else path
