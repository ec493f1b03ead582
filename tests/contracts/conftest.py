"""The stores under contract: mongomock in this process, the embedded store, and a real MongoDB when there is one."""

import os
from collections.abc import AsyncIterator
from typing import Any
from uuid import uuid4

import pytest
from pymongo import AsyncMongoClient

from app.database.indexes import ensure_indexes
from app.jobs import recovery
from tests.contracts.job_fleet import Fleet
from tests.contracts.store_outcomes import Database, Document
from tests.fakes.mongo import fake_mongo
from tests.processes import Server


@pytest.fixture(params=["mongomock", "embedded", "mongodb"])
async def db(request: pytest.FixtureRequest) -> AsyncIterator[Database]:
    """An empty database of each store in turn; the real one takes part when ``TEST_MONGO_URI`` is set."""
    async with _client(request) as client:
        name = f"contract_{os.environ.get('PYTEST_XDIST_WORKER', 'main')}"
        await client.drop_database(name)
        yield client[name]
        await client.drop_database(name)


def _client(request: pytest.FixtureRequest) -> AsyncMongoClient[Document]:
    match request.param:
        case "mongomock":
            return fake_mongo()
        case "embedded":
            store: Server = request.getfixturevalue("store")
            return AsyncMongoClient(store.mongo_uri, tz_aware=True)
        case _:
            uri = os.environ.get("TEST_MONGO_URI")
            if not uri:
                pytest.skip("TEST_MONGO_URI is not set")
            return AsyncMongoClient(uri, tz_aware=True)


@pytest.fixture(params=["fake", "embedded"])
async def fleet(request: pytest.FixtureRequest) -> AsyncIterator[Fleet]:
    """Workers over an empty database with the indexes of jobs."""
    if request.param == "fake":
        yield Fleet.over(fake_mongo()["tests"])
        return
    store: Server = request.getfixturevalue("store")
    client: AsyncMongoClient[dict[str, Any]] = AsyncMongoClient(store.mongo_uri, tz_aware=True)
    database = client[f"dispatch_{uuid4().hex}"]
    await ensure_indexes(database, recovery.indexes("jobs"))
    yield Fleet.over(database)
    await client.close()
