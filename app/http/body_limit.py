"""Request bodies are bounded in size, time and depth, and are JSON, before any route sees them.

A few routes take documents instead, which people write and which their own reader checks, with lines and columns. Those
that take bodies as streams bound them by themselves.
"""

import asyncio
import re
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.errors import Invalid, OrchestratorError
from app.http.json_text import check_json

MAX_JSON_DEPTH = 32
READ_TIMEOUT = 30.0
JSON = "application/json"
_WITHOUT_BODY = frozenset({"GET", "HEAD", "DELETE", "OPTIONS", "TRACE"})


class PayloadTooLarge(OrchestratorError):
    code = "PAYLOAD_TOO_LARGE"
    status = 413
    title = "Body too large"


class UnsupportedMediaType(OrchestratorError):
    code = "UNSUPPORTED_MEDIA_TYPE"
    status = 415
    title = "Unsupported media type"


class SlowBody(OrchestratorError):
    code = "REQUEST_TIMEOUT"
    status = 408
    title = "Body not received in time"


@dataclass(frozen=True, slots=True)
class Documents:
    """The bodies of one path that are handed on unread, if they are neither too large nor of another media type."""

    max_bytes: int
    media_types: tuple[str, ...]


NO_DOCUMENTS: Mapping[str, Documents] = MappingProxyType({})
NO_STREAMS = re.compile(r"(?!)")


class BodyLimit:
    """Reads the whole body (it is small by definition), checks it, and hands it on in one piece.

    A body that announces too many bytes is refused unread; one that announces nothing is counted as it arrives.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        max_bytes: int,
        documents: Mapping[str, Documents] = NO_DOCUMENTS,
        streams: re.Pattern[str] = NO_STREAMS,
        max_depth: int = MAX_JSON_DEPTH,
        read_timeout: float = READ_TIMEOUT,
    ) -> None:
        """``documents`` says by path which bodies are not checked as JSON here; a path that ends in a slash is for all
        that lie right below it. ``streams`` says so by method and path, as in
        `PUT /v1/artifacts/…`, which are not read here at all.
        """
        self._app = app
        self._max_bytes = max_bytes
        self._documents = documents
        self._streams = streams
        self._max_depth = max_depth
        self._read_timeout = read_timeout

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and _may_have_body(scope) and not self._is_streamed(scope):
            documents = self._documents_at(scope["path"])
            body = await self._read(scope, receive, documents.max_bytes if documents else self._max_bytes)
            if body is None:
                return
            if body:
                self._check(body, scope, documents)
            receive = _replayed(body, receive)
        await self._app(scope, receive, send)

    def _documents_at(self, path: str) -> Documents | None:
        return self._documents.get(path) or self._documents.get(path[: path.rfind("/") + 1])

    def _is_streamed(self, scope: Scope) -> bool:
        return self._streams.fullmatch(f"{scope['method']} {scope['path']}") is not None

    def _check(self, body: bytes, scope: Scope, documents: Documents | None) -> None:
        _check_media_type(scope, documents.media_types if documents else (JSON,))
        if documents is None:
            check_json(body, max_depth=self._max_depth)

    async def _read(self, scope: Scope, receive: Receive, max_bytes: int) -> bytes | None:
        """None when the client went away."""
        if announced_length(scope) > max_bytes:
            raise too_large(max_bytes)
        try:
            async with asyncio.timeout(self._read_timeout):
                return await self._collect(receive, max_bytes)
        except TimeoutError:
            raise SlowBody("the request body did not arrive in time") from None

    async def _collect(self, receive: Receive, max_bytes: int) -> bytes | None:
        chunks: list[bytes] = []
        size, is_complete = 0, False
        while not is_complete:
            message = await receive()
            if message["type"] == "http.disconnect":
                return None
            chunk = message.get("body", b"")
            size += len(chunk)
            if size > max_bytes:
                raise too_large(max_bytes)
            chunks.append(chunk)
            is_complete = not message.get("more_body", False)
        return b"".join(chunks)


def too_large(max_bytes: int) -> PayloadTooLarge:
    return PayloadTooLarge(f"the body has more than {max_bytes} bytes", max_bytes=max_bytes)


def _may_have_body(scope: Scope) -> bool:
    if scope["method"] not in _WITHOUT_BODY:
        return True
    return any(name in {b"content-length", b"transfer-encoding"} for name, _ in scope["headers"])


def _header(scope: Scope, wanted: bytes) -> str:
    return next((value.decode("latin-1") for name, value in scope["headers"] if name == wanted), "")


def announced_length(scope: Scope) -> int:
    """What Content-Length says, 0 without one. Raises `Invalid` when it is no number."""
    announced = _header(scope, b"content-length") or "0"
    if not (announced.isascii() and announced.isdigit() and len(announced) <= 18):
        raise Invalid("Content-Length is not a number", field="Content-Length", type="int_parsing")
    return int(announced)


def _check_media_type(scope: Scope, wanted: tuple[str, ...]) -> None:
    media_type, _, parameters = _header(scope, b"content-type").lower().partition(";")
    if media_type.strip() not in wanted:
        kind = "JSON" if wanted == (JSON,) else "a document"
        raise UnsupportedMediaType(f"send {kind} with Content-Type: {' or '.join(wanted)}")
    if "charset" in parameters and "utf-8" not in parameters:
        raise UnsupportedMediaType("send it as UTF-8")
    check_plain(scope)


def check_plain(scope: Scope) -> None:
    """Raises `UnsupportedMediaType` for a body that is compressed on its way."""
    if _header(scope, b"content-encoding").lower() not in {"", "identity"}:
        raise UnsupportedMediaType("send the body without Content-Encoding")


def _replayed(body: bytes, receive: Receive) -> Receive:
    is_sent = False

    async def replay() -> Message:
        nonlocal is_sent
        if is_sent:
            # Only the disconnect is left to come, which streams and long polls wait for.
            return await receive()
        is_sent = True
        return {"type": "http.request", "body": body, "more_body": False}

    return replay
