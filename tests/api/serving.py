"""The API behind a real socket, in this event loop: what streams or is cut off needs one."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from functools import partial

import httpx
from httpx_sse import EventSource, ServerSentEvent

from app.agents.registry import Registry
from app.http.server import Server, server_config
from app.llm.tls import trusted_certificates
from app.main import create_app
from app.settings import Settings
from tests.api.harness import Api, build_watched


class QuietServer(Server):
    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """The signals stay the test runner's."""
        yield


@asynccontextmanager
async def served_api(settings: Settings, *, registry: Registry | None = None) -> AsyncIterator[Api]:
    """The API on a free port from start to stop."""
    app = create_app(settings, core_factory=partial(build_watched, registry=registry))
    config = server_config(app, host=settings.api_host, port=0)
    server = QuietServer(config, on_stop=lambda: app.state.core.signals.stop_waiting())
    with socket.create_server(("127.0.0.1", 0)) as listener:
        serving = asyncio.create_task(server.serve(sockets=[listener]))
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        try:
            async with httpx.AsyncClient(base_url=url, timeout=30.0, verify=trusted_certificates()) as client:
                await client.get("/health/live")
                await app.state.core.prepared.wait()
                yield Api(app, settings, client)
        finally:
            server.should_exit = True
            await serving


class Stream:
    """One open event stream, read event by event."""

    def __init__(self, response: httpx.Response) -> None:
        self.response = response
        self._events = EventSource(response).aiter_sse()

    async def next(self) -> ServerSentEvent:
        async with asyncio.timeout(10):
            return await anext(self._events)

    async def rest(self) -> list[ServerSentEvent]:
        """What comes until the server ends the stream."""
        async with asyncio.timeout(20):
            return [event async for event in self._events]


@asynccontextmanager
async def streaming(
    api: Api,
    task_id: str,
    *,
    after: str | None = None,
    token: str | None = None,
    live: bool | None = None,
    **headers: str,
) -> AsyncIterator[Stream]:
    resumed = {"Last-Event-ID": after} if after is not None else {}
    given = {"token": token, "live": live}
    params = {name: str(value) for name, value in given.items() if value is not None}
    path = f"/v1/tasks/{task_id}/events"
    async with api.client.stream("GET", path, headers={**resumed, **headers}, params=params) as response:
        yield Stream(response)
