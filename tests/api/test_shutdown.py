"""The API stops promptly, whatever it is doing."""

import asyncio
import time
from contextlib import AsyncExitStack
from dataclasses import replace

import httpx
import pytest

from app.http.server import DRAIN_SECONDS
from app.main import create_app
from tests.api.harness import api_settings
from tests.api.serving import served_api, streaming
from tests.processes import Server

PATIENCE = 2.0


async def stops_after(turns: int, store: Server, redis_url: str) -> bool:
    """Whether the API stops in time when it is told to so many turns of the event loop after its start."""
    app = create_app(api_settings(store.mongo_uri, redis_url))
    lifespan = app.router.lifespan_context(app)
    await lifespan.__aenter__()
    for _ in range(turns):
        await asyncio.sleep(0)
    stopping = asyncio.ensure_future(lifespan.__aexit__(None, None, None))
    done, _ = await asyncio.wait({stopping}, timeout=PATIENCE)
    while not stopping.done():
        # Whatever it waits for in vain, or this test could not end.
        for task in asyncio.all_tasks() - {asyncio.current_task(), stopping}:
            task.cancel()
        await asyncio.wait({stopping}, timeout=0.1)
    return bool(done)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
async def test_the_api_stops_in_time_whatever_moment_it_is_told_to(store: Server, redis_url: str) -> None:
    stopped = [await stops_after(turns, store, redis_url) for turns in range(0, 120, 8)]

    assert all(stopped), f"it hung in {stopped.count(False)} of {len(stopped)} runs"


async def test_an_open_stream_does_not_keep_the_api_from_stopping(store: Server, redis_url: str) -> None:
    async with AsyncExitStack() as stack:
        api = await stack.enter_async_context(served_api(api_settings(store.mongo_uri, redis_url)))
        task_id = await api.submit()
        async with (
            httpx.AsyncClient(base_url=api.client.base_url, timeout=30.0) as client,
            streaming(replace(api, client=client), task_id) as stream,
        ):
            await stream.next()
            began = time.monotonic()
            await stack.aclose()
            took = time.monotonic() - began

    assert took < DRAIN_SECONDS
