import io
import logging
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager
from typing import Any

import pytest
import structlog

from app.agents.registry import Registry
from app.agents.specs import BUILT_IN, AgentSpec
from app.observability.logging import configure_logging
from app.settings import load_settings
from tests.api.harness import Api, api_settings, running_api
from tests.api.world import StartWorld, World, started_world, world_settings
from tests.processes import Server

StartApi = Callable[..., AbstractAsyncContextManager[Api]]
# Read once: it takes longer than many a test.
OF_THE_LOG = load_settings(_env_file=None, environment="test")


@pytest.fixture(autouse=True)
def log() -> Iterator[io.StringIO]:
    """What the API logs, as in production: one JSON object per line."""
    root, stream = logging.getLogger(), io.StringIO()
    level, handlers = root.level, list(root.handlers)
    configure_logging(OF_THE_LOG, service="api", stream=stream)
    yield stream
    structlog.reset_defaults()
    root.setLevel(level)
    root.handlers[:] = handlers
    logging.captureWarnings(False)


@pytest.fixture
def start_api(store: Server, redis_url: str) -> StartApi:
    """Starts an API over this test's stores, with other settings than usual."""

    def start(**settings: Any) -> AbstractAsyncContextManager[Api]:
        given = {"mongo_uri": store.mongo_uri, "redis_url": redis_url, **settings}
        return running_api(api_settings(**given))

    return start


@pytest.fixture
async def api(start_api: StartApi) -> AsyncIterator[Api]:
    async with start_api() as started:
        yield started


@pytest.fixture
def start_world(store: Server, redis_url: str, simulator: Server) -> StartWorld:
    """Starts a world over this test's stores, with these agents besides the built-in ones."""

    def start(*agents: AgentSpec, over_socket: bool = False, **settings: Any) -> AbstractAsyncContextManager[World]:
        given = world_settings(store, redis_url, simulator, **settings)
        registry = Registry((*BUILT_IN, *agents)) if agents else None
        return started_world(given, simulator, registry=registry, over_socket=over_socket)

    return start


@pytest.fixture
async def world(start_world: StartWorld) -> AsyncIterator[World]:
    async with start_world() as started:
        yield started
