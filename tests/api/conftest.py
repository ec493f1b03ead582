import io
import logging
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager
from typing import Any

import pytest
import structlog

from app.observability.logging import configure_logging
from app.settings import load_settings
from tests.api.harness import Api, api_settings, running_api
from tests.processes import Server

StartApi = Callable[..., AbstractAsyncContextManager[Api]]


@pytest.fixture(autouse=True)
def log() -> Iterator[io.StringIO]:
    """What the API logs, as in production: one JSON object per line."""
    root, stream = logging.getLogger(), io.StringIO()
    level, handlers = root.level, list(root.handlers)
    configure_logging(load_settings(_env_file=None, environment="test"), service="api", stream=stream)
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
