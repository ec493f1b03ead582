"""The stores under contract: mongomock in this process, the embedded store, and a real MongoDB when there is one."""

import os
from collections.abc import AsyncIterator

import pytest
from pymongo import AsyncMongoClient

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
