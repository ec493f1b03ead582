"""The HTTP API as the commands use it: a path by its segments, problems as errors with a way out."""

from collections.abc import AsyncGenerator, AsyncIterable, Mapping, Sequence
from types import TracebackType
from typing import Any, Self
from urllib.parse import quote, urlsplit

import httpx
from httpx_sse import ServerSentEvent, SSEError, aconnect_sse

from app.errors import Invalid, OrchestratorError, Unavailable

Json = dict[str, Any]
_CONNECT_SECONDS = 5.0
# The server sends a comment every 15 s; three missing ones mean that the connection is dead.
_READ_SECONDS = 45.0


class ServerUnreachable(Unavailable):
    code = "SERVER_UNREACHABLE"
    title = "Server unreachable"


class ServerBusy(Unavailable):
    code = "SERVER_BUSY"
    title = "Server cannot serve now"


class Refused(OrchestratorError):
    """The server understood and said no, with the code in ``answered``; asking again the same will not help."""

    code = "REFUSED"
    status = 422
    title = "Refused by the server"


class NoEventStream(OrchestratorError):
    """This server (or a proxy before it) does not stream; poll instead."""

    code = "NO_EVENT_STREAM"
    title = "No event stream"


class Server:
    def __init__(self, url: str, *, api_key: str | None = None, transport: httpx.AsyncBaseTransport | None = None):
        self.url = checked_url(url)
        self._client = httpx.AsyncClient(
            base_url=self.url,
            headers={"X-API-Key": api_key} if api_key else {},
            timeout=httpx.Timeout(_READ_SECONDS, connect=_CONNECT_SECONDS),
            transport=transport,
            # A proxy from the environment cannot reach this machine's loopback.
            trust_env=urlsplit(self.url).hostname not in {"127.0.0.1", "::1", "localhost"},
            # Reading the certificates takes 40 ms, and without TLS nobody shows one: redirects are not followed.
            verify=urlsplit(self.url).scheme == "https",
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        await self._client.aclose()

    async def get(self, *path: str, **query: str | int | None) -> Json:
        """What is at `/v1/` and these segments; of the query what is None or empty is left out."""
        given = {name: value for name, value in query.items() if value not in (None, "")}
        return await self._call("GET", path, params=given)

    async def post(
        self,
        *path: str,
        body: Json | None = None,
        query: Mapping[str, str] | None = None,
        idempotency_key: str | None = None,
        if_match: str | None = None,
    ) -> Json:
        given = {"Idempotency-Key": idempotency_key, "If-Match": if_match}
        headers = {name: value for name, value in given.items() if value}
        return await self._call("POST", path, json=body, params=query or {}, headers=headers)

    async def post_text(
        self,
        *path: str,
        text: str,
        media_type: str,
        query: Mapping[str, str | Sequence[str]] | None = None,
        expected: str | None = None,
    ) -> Json:
        """``expected`` is the digest that must be the current one."""
        headers = _document_headers(media_type, expected)
        return await self._call("POST", path, content=text.encode(), params=query or {}, headers=headers)

    async def put_text(self, *path: str, text: str, media_type: str, expected: str | None = None) -> Json:
        headers = _document_headers(media_type, expected)
        return await self._call("PUT", path, content=text.encode(), headers=headers)

    async def put(self, *path: str, body: Json) -> Json:
        return await self._call("PUT", path, json=body)

    async def delete(self, *path: str) -> Json:
        return await self._call("DELETE", path)

    async def upload(
        self, *path: str, pieces: AsyncIterable[bytes], size: int, media_type: str, query: Mapping[str, str]
    ) -> Json:
        """Put so many bytes, which may be more than memory holds."""
        headers = {"Content-Type": media_type, "Content-Length": str(size)}
        return await self._call("PUT", path, content=pieces, params=query, headers=headers)

    async def pieces(self, *path: str) -> AsyncGenerator[bytes, None]:
        """A file that may be longer than memory; raises `ServerUnreachable` when it breaks off."""
        try:
            async with self._client.stream("GET", _url(path)) as response:
                if response.is_error:
                    await response.aread()
                    raise _problem(response)
                async for piece in response.aiter_bytes():
                    yield piece
        except httpx.TransportError as error:
            raise unreachable(self.url, error) from error

    async def download(self, *path: str, **query: str) -> bytes:
        return (await self._answer("GET", path, params=query)).content

    async def lines(self, *path: str, **query: str | None) -> AsyncGenerator[str, None]:
        """The lines of an answer that may be longer than memory; raises `ServerUnreachable` when it breaks off."""
        given = {name: value for name, value in query.items() if value not in (None, "")}
        try:
            async with self._client.stream("GET", _url(path), params=given) as response:
                if response.is_error:
                    await response.aread()
                    raise _problem(response)
                async for line in response.aiter_lines():
                    yield line
        except httpx.TransportError as error:
            raise unreachable(self.url, error) from error

    async def events(self, *path: str, after: str = "", live: bool = True) -> AsyncGenerator[ServerSentEvent, None]:
        """The events of what is there, after the one with that id, with or without the `live` ones.

        Raises `httpx.TransportError` when the connection breaks and `NoEventStream` when the answer is something else.
        """
        headers = {"Last-Event-ID": after} if after else {}
        url, params = _url((*path, "events")), {} if live else {"live": "false"}
        async with aconnect_sse(self._client, "GET", url, params=params, headers=headers) as source:
            if source.response.is_error:
                await source.response.aread()
                raise (
                    NoEventStream("no event stream")
                    if source.response.status_code == 404
                    else _problem(source.response)
                )
            try:
                async for event in source.aiter_sse():
                    yield event
            except SSEError as error:
                raise NoEventStream(str(error)) from error

    async def _call(self, method: str, path: Sequence[str], **options: Any) -> Json:
        response = await self._answer(method, path, **options)
        return {} if response.status_code == 204 else _object(response)

    async def _answer(self, method: str, path: Sequence[str], **options: Any) -> httpx.Response:
        try:
            response = await self._client.request(method, _url(path), **options)
        except httpx.TransportError as error:
            raise unreachable(self.url, error) from error
        except httpx.InvalidURL as error:
            raise Invalid(f"no request has room for this ({error}): use shorter or fewer names") from error
        if response.is_error:
            raise _problem(response)
        return response


def unreachable(url: str, error: Exception) -> ServerUnreachable:
    return ServerUnreachable(
        f"no answer from {url} ({type(error).__name__}): start the stack with `orchestrate up`, "
        "or name a server with --server or ORCHESTRATE_URL"
    )


def checked_url(url: str) -> str:
    parts = urlsplit(url)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise Invalid(f"{url!r} is not a server's URL: write it as http://host:port")
    return url.rstrip("/")


def _url(path: Sequence[str]) -> str:
    """No segment can leave its place."""
    return "/v1/" + "/".join(quote(segment, safe="") for segment in path)


def _document_headers(media_type: str, expected: str | None) -> dict[str, str]:
    condition = {"If-Match": f'"{expected}"'} if expected else {}
    return {"Content-Type": media_type, **condition}


def _object(response: httpx.Response) -> Json:
    try:
        body = response.json()
    except ValueError:
        body = None
    if not isinstance(body, dict):
        raise ServerUnreachable(f"{response.url} did not answer with a JSON object: is this the right server?")
    return body


def _problem(response: httpx.Response) -> OrchestratorError:
    code, message = _said(response)
    told = f"{message} ({code}, HTTP {response.status_code})"
    if response.status_code in {401, 403}:
        return Refused(f"{told}: give a key with --api-key or ORCHESTRATE_API_KEY")
    if response.status_code == 429 or response.status_code >= 500:
        wait = response.headers.get("Retry-After")
        return ServerBusy(f"{told}: try again{f' in {wait} s' if wait else ' later'}")
    return Refused(told, answered=code)


def _said(response: httpx.Response) -> tuple[str, str]:
    """Code and message of a problem document, or what can be made of any other answer."""
    try:
        body = response.json()
    except ValueError:
        body = None
    problem = body if isinstance(body, dict) else {}
    error = problem.get("error")
    error = error if isinstance(error, dict) else {}
    message = error.get("message") or problem.get("detail") or response.reason_phrase or "no reason given"
    return str(error.get("code") or "ERROR"), str(message)
