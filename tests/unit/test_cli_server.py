from collections.abc import AsyncIterator

import httpx
import pytest

from app.cli.exit_codes import ExitCode, code_of_error, code_of_status
from app.cli.server import Refused, Server, ServerBusy, ServerUnreachable
from app.devstack.lockfile import StackRunning
from app.devstack.ports import PortTaken
from app.errors import Invalid, OrchestratorError
from app.settings import ConfigurationError

PROBLEM = {"title": "Not found", "error": {"code": "TASK_NOT_FOUND", "message": "no task named 'x'"}}


def server_that(answer: httpx.Response | Exception, seen: list[httpx.Request] | None = None) -> Server:
    def handle(request: httpx.Request) -> httpx.Response:
        if seen is not None:
            seen.append(request)
        if isinstance(answer, Exception):
            raise answer
        return answer

    return Server("http://127.0.0.1:1", api_key="key-123", transport=httpx.MockTransport(handle))


async def test_a_submission_carries_the_key_and_an_idempotency_key() -> None:
    seen: list[httpx.Request] = []

    async with server_that(httpx.Response(202, json={"task_id": "t"}), seen) as server:
        accepted = await server.post("agent", "execute", body={"task": "x"}, idempotency_key="once")

    assert accepted == {"task_id": "t"}
    assert seen[0].url.path == "/v1/agent/execute"
    assert (seen[0].headers["X-API-Key"], seen[0].headers["Idempotency-Key"]) == ("key-123", "once")


async def test_an_id_cannot_leave_its_place_in_the_path() -> None:
    seen: list[httpx.Request] = []

    async with server_that(httpx.Response(200, json={}), seen) as server:
        await server.get("tasks", "../system/metrics?x=")

    assert seen[0].url.raw_path == b"/v1/tasks/..%2Fsystem%2Fmetrics%3Fx%3D"


async def test_a_refusal_tells_the_servers_own_words() -> None:
    async with server_that(httpx.Response(404, json=PROBLEM)) as server:
        with pytest.raises(Refused, match=r"no task named 'x' \(TASK_NOT_FOUND, HTTP 404\)"):
            await server.get("tasks", "x")


@pytest.mark.parametrize("status", [401, 403])
async def test_a_wrong_key_says_where_to_give_the_right_one(status: int) -> None:
    async with server_that(httpx.Response(status, json=PROBLEM)) as server:
        with pytest.raises(Refused, match="--api-key or ORCHESTRATE_API_KEY"):
            await server.get("tasks", "x")


@pytest.mark.parametrize("status", [429, 500, 503])
async def test_a_busy_server_says_when_to_come_back(status: int) -> None:
    answer = httpx.Response(status, text="<html>", headers={"Retry-After": "7"})
    async with server_that(answer) as server:
        with pytest.raises(ServerBusy, match=rf"HTTP {status}\): try again in 7 s"):
            await server.get("tasks", "x")


async def test_no_server_says_how_to_start_one() -> None:
    async with server_that(httpx.ConnectError("refused")) as server:
        with pytest.raises(ServerUnreachable, match="orchestrate up"):
            await server.get("tasks", "x")


@pytest.mark.parametrize("text", ["<html>", "[1]"])
async def test_another_kind_of_server_is_recognised(text: str) -> None:
    async with server_that(httpx.Response(200, text=text)) as server:
        with pytest.raises(ServerUnreachable, match="is this the right server"):
            await server.get("tasks", "x")


@pytest.mark.parametrize("url", ["", "localhost:8000", "ftp://x", "http://"])
def test_what_is_not_a_url_is_refused(url: str) -> None:
    with pytest.raises(Invalid, match="http://host:port"):
        Server(url)


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (StackRunning("x"), ExitCode.ALREADY_RUNNING),
        (ServerUnreachable("x"), ExitCode.UNAVAILABLE),
        (ServerBusy("x"), ExitCode.UNAVAILABLE),
        (Refused("x"), ExitCode.USAGE),
        (Invalid("x"), ExitCode.USAGE),
        (ConfigurationError("x"), ExitCode.USAGE),
        (PortTaken("x"), ExitCode.FAILED),
    ],
)
def test_every_error_has_its_exit_code(error: OrchestratorError, code: ExitCode) -> None:
    assert code_of_error(error) is code


@pytest.mark.parametrize(
    ("status", "code"), [("completed", 0), ("failed", 1), ("cancelled", 3), ("queued", 4), ("awaiting_approval", 7)]
)
def test_every_status_has_its_exit_code(status: str, code: int) -> None:
    assert code_of_status(status) == code


class _BreakingOff(httpx.AsyncByteStream):
    async def __aiter__(self) -> AsyncIterator[bytes]:
        yield b'{"seq": 1}\n{"seq"'
        raise httpx.ReadError("gone")


async def test_lines_that_break_off_are_told_so_and_a_refusal_of_them_is_a_problem() -> None:
    async with server_that(httpx.Response(200, stream=_BreakingOff())) as server:
        lines = server.lines("audit", "export")
        first = await anext(lines)
        with pytest.raises(ServerUnreachable):
            await anext(lines)
    async with server_that(httpx.Response(404, json=PROBLEM)) as server:
        with pytest.raises(Refused, match="TASK_NOT_FOUND"):
            await anext(server.lines("audit", "export"))

    assert first == '{"seq": 1}'
