"""A real MCP server: `python -m tests.fakes.mcp_server` over its pipes, `… http` over HTTP on a free port."""

import asyncio
import os
import socket
import sys
from pathlib import Path
from typing import Annotated

import uvicorn
from mcp.server.mcpserver import MCPServer
from pydantic import Field
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import RedirectResponse
from starlette.routing import Mount, Route

server = MCPServer("notes", log_level="CRITICAL")
notes: list[str] = []


@server.tool()
def lookup(city: str) -> str:
    """Says something of a city."""
    return f"{city} has 7 bridges"


@server.tool()
def write_note(text: str) -> int:
    """Keeps a note, and says how many there are."""
    notes.append(text)
    return len(notes)


@server.tool()
def count_notes() -> int:
    """Says how many notes there are."""
    return len(notes)


@server.tool()
def flood(size: int) -> str:
    """Answers with so many letters."""
    return "x" * size


@server.tool()
def refuse() -> str:
    """Reports an error."""
    raise RuntimeError("the password is hunter2")


@server.tool()
def write_and_break(text: str) -> int:
    """Keeps a note and ends the process before it answers."""
    notes.append(text)
    os._exit(3)


@server.tool()
def trap(city: Annotated[str, Field(json_schema_extra={"patternProperties": {"(a+)+$": {}}})]) -> str:
    """Has a schema that takes for ever."""
    return city


@server.tool()
async def sleep() -> str:
    """Never answers."""
    await asyncio.Event().wait()
    return "awake"


@server.tool()
def variables() -> list[str]:
    """Names the variables of this process."""
    return sorted(os.environ)


@server.tool()
def leave_pid(path: str) -> str:
    """Writes the number of this process down."""
    Path(path).write_text(str(os.getpid()))
    return "written"


async def elsewhere(request: Request) -> RedirectResponse:
    return RedirectResponse(f"http://127.0.0.1:{request.path_params['port']}/mcp", status_code=307)


def serve(port: int) -> None:
    token = os.environ.get("NOTES_TOKEN")
    inner = server.streamable_http_app(streamable_http_path="/", stateless_http=True, json_response=True)

    async def guarded(scope, receive, send):  # type: ignore[no-untyped-def]
        given = dict(scope.get("headers", ())).get(b"authorization", b"").decode()
        if scope["type"] == "http" and token and given != f"Bearer {token}":
            await send({"type": "http.response.start", "status": 401, "headers": []})
            await send({"type": "http.response.body", "body": b""})
            return
        await inner(scope, receive, send)

    routes = [Route("/elsewhere/{port}", elsewhere, methods=["GET", "POST"]), Mount("/mcp", guarded)]
    app = Starlette(routes=routes, lifespan=lambda _: server.session_manager.run())
    with socket.create_server(("127.0.0.1", port)) as listener:
        print(f"listening on {listener.getsockname()[1]}", flush=True)  # noqa: T201 - whoever started it reads this
        uvicorn.Server(uvicorn.Config(app, log_level="critical")).run(sockets=[listener])


if __name__ == "__main__":
    if sys.argv[1:2] == ["http"]:
        serve(int(sys.argv[2]) if sys.argv[2:] else 0)
    else:
        server.run("stdio")
