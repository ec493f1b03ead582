"""The HTTP API as the commands use it: one method per call, problems as errors with a way out."""

from collections.abc import AsyncGenerator, Mapping
from types import TracebackType
from typing import Any, Self
from urllib.parse import quote, urlsplit

import httpx
from httpx_sse import ServerSentEvent, SSEError, aconnect_sse

from app.errors import Invalid, OrchestratorError, Unavailable

Json = dict[str, Any]
_WORKFLOWS = "/v1/workflows"
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
    """The server understood and said no; asking again in the same way will not help."""

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

    async def submit(self, body: Json, *, idempotency_key: str) -> Json:
        headers = {"Idempotency-Key": idempotency_key}
        return await self._call("POST", "/v1/agent/execute", json=body, headers=headers)

    async def route(self, body: Json, *, idempotency_key: str) -> Json:
        headers = {"Idempotency-Key": idempotency_key}
        return await self._call("POST", "/v1/agent/route", json=body, headers=headers)

    async def clarify(self, task_id: str, body: Json) -> Json:
        return await self._call("POST", _path(task_id, "/clarify"), json=body)

    async def review(self, task_id: str, body: Json) -> Json:
        return await self._call("POST", _path(task_id, "/review"), json=body)

    async def get_task(self, task_id: str, *, wait: int = 0) -> Json:
        return await self._call("GET", _path(task_id), params={"wait": wait} if wait else {})

    async def list_tasks(self, filters: Mapping[str, str | int]) -> Json:
        return await self._call("GET", "/v1/tasks", params=dict(filters))

    async def cancel(self, task_id: str) -> Json:
        return await self._call("POST", _path(task_id, "/cancel"))

    async def retry(self, task_id: str) -> Json:
        return await self._call("POST", _path(task_id, "/retry"))

    async def why(self, task_id: str) -> Json:
        return await self._call("GET", _path(task_id, "/why"))

    async def list_artifacts(self, task_id: str) -> Json:
        return await self._call("GET", _path(task_id, "/artifacts"))

    async def download_artifact(self, task_id: str, sha256: str) -> bytes:
        return (await self._answer("GET", _path(task_id, f"/artifacts/{quote(sha256, safe='')}"))).content

    async def list_effects(self, task_id: str) -> Json:
        return await self._call("GET", _path(task_id, "/effects"))

    async def resolve_effect(self, task_id: str, key: str, *, happened: bool) -> Json:
        path = _path(task_id, f"/effects/{quote(key, safe='')}/resolve")
        return await self._call("POST", path, json={"happened": happened})

    async def list_dead_letters(self, filters: Mapping[str, str | int]) -> Json:
        return await self._call("GET", "/v1/dead-letters", params=dict(filters))

    async def get_dead_letter(self, task_id: str) -> Json:
        return await self._call("GET", _dead_letter_path(task_id))

    async def redrive(self, task_id: str) -> Json:
        return await self._call("POST", _dead_letter_path(task_id, "/redrive"))

    async def redrive_many(self, body: Json) -> Json:
        return await self._call("POST", "/v1/dead-letters/redrive", json=body)

    async def list_recordings(self, task_id: str) -> Json:
        return await self._call("GET", _path(task_id, "/recordings"))

    async def get_recording(self, task_id: str, sha256: str) -> Json:
        return await self._call("GET", _path(task_id, f"/recordings/{quote(sha256, safe='')}"))

    async def list_sessions(self, filters: Mapping[str, str | int]) -> Json:
        return await self._call("GET", "/v1/sessions", params=dict(filters))

    async def get_session(self, session_id: str) -> Json:
        return await self._call("GET", _session_path(session_id))

    async def delete_session(self, session_id: str) -> Json:
        return await self._call("DELETE", _session_path(session_id))

    async def raise_budget(self, task_id: str, body: Json) -> Json:
        return await self._call("POST", _path(task_id, "/budget"), json=body)

    async def list_budgets(self) -> Json:
        return await self._call("GET", "/v1/budgets")

    async def put_budget(self, scope: str, name: str, body: Json) -> Json:
        return await self._call("PUT", _budget_path(scope, name), json=body)

    async def delete_budget(self, scope: str, name: str) -> Json:
        return await self._call("DELETE", _budget_path(scope, name))

    async def validate_workflow(self, text: str, media_type: str) -> Json:
        headers = {"Content-Type": media_type}
        return await self._call("POST", f"{_WORKFLOWS}/validate", content=text.encode(), headers=headers)

    async def put_workflow(self, text: str, media_type: str, *, expected: str | None = None) -> Json:
        """The version that the text is now; ``expected`` is the digest that must be the current one."""
        condition = {"If-Match": f'"{expected}"'} if expected else {}
        headers = {"Content-Type": media_type, **condition}
        return await self._call("POST", _WORKFLOWS, content=text.encode(), headers=headers)

    async def list_workflows(self, filters: Mapping[str, str | int]) -> Json:
        return await self._call("GET", _WORKFLOWS, params=dict(filters))

    async def get_workflow(self, reference: str, *, digest: str | None = None) -> Json:
        return await self._call("GET", _workflow_path(reference), params={"version": digest} if digest else {})

    async def delete_workflow(self, reference: str) -> Json:
        return await self._call("DELETE", _workflow_path(reference))

    async def usage(self, filters: Mapping[str, str]) -> Json:
        return await self._call("GET", "/v1/usage", params=dict(filters))

    async def events(
        self, task_id: str, *, after: str = "", live: bool = True
    ) -> AsyncGenerator[ServerSentEvent, None]:
        """The task's events after the one with that id, with or without the `live` ones.

        Raises `httpx.TransportError` when the connection breaks and `NoEventStream` when the answer is something else.
        """
        headers = {"Last-Event-ID": after} if after else {}
        path, params = _path(task_id, "/events"), {} if live else {"live": "false"}
        async with aconnect_sse(self._client, "GET", path, params=params, headers=headers) as source:
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

    async def _call(self, method: str, path: str, **options: Any) -> Json:
        response = await self._answer(method, path, **options)
        return {} if response.status_code == 204 else _object(response)

    async def _answer(self, method: str, path: str, **options: Any) -> httpx.Response:
        try:
            response = await self._client.request(method, path, **options)
        except httpx.TransportError as error:
            raise unreachable(self.url, error) from error
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


def _path(task_id: str, rest: str = "") -> str:
    return f"/v1/tasks/{quote(task_id, safe='')}{rest}"


def _dead_letter_path(task_id: str, rest: str = "") -> str:
    return f"/v1/dead-letters/{quote(task_id, safe='')}{rest}"


def _session_path(session_id: str) -> str:
    return f"/v1/sessions/{quote(session_id, safe='')}"


def _budget_path(scope: str, name: str) -> str:
    return f"/v1/budgets/{quote(scope, safe='')}/{quote(name, safe='')}"


def _workflow_path(reference: str) -> str:
    return f"{_WORKFLOWS}/{quote(reference, safe='')}"


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
    return Refused(told)


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
