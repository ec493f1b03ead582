"""The store under the checkpoints: the fake, and the embedded one with a record of what it was asked."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from pymongo import AsyncMongoClient
from pymongo.monitoring import CommandFailedEvent, CommandListener, CommandStartedEvent, CommandSucceededEvent

from app.checkpoints.models import INDEXES
from app.database.documents import Database
from app.database.indexes import ensure_indexes
from tests.checkpoint_builders import Attempts, the_checkpoints
from tests.fakes.mongo import fake_mongo
from tests.job_builders import FakeClock
from tests.processes import Server


class Commands(CommandListener):
    """The names of the commands that were sent."""

    def __init__(self) -> None:
        self.names: list[str] = []

    def started(self, event: CommandStartedEvent) -> None:
        self.names.append(event.command_name)

    def succeeded(self, event: CommandSucceededEvent) -> None: ...

    def failed(self, event: CommandFailedEvent) -> None: ...


@pytest.fixture
def commands() -> Commands:
    return Commands()


@pytest.fixture(params=["fake", "embedded"])
async def database(request: pytest.FixtureRequest, commands: Commands) -> AsyncIterator[Database]:
    if request.param == "fake":
        yield fake_mongo()["tests"]
        return
    store: Server = request.getfixturevalue("store")
    client: AsyncMongoClient[dict[str, Any]] = AsyncMongoClient(
        store.mongo_uri, tz_aware=True, event_listeners=[commands]
    )
    found = client[f"checkpoints_{uuid4().hex}"]
    await ensure_indexes(found, INDEXES)
    commands.names.clear()
    yield found
    await client.close()


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def attempts(database: Database, tmp_path: Path, clock: FakeClock) -> Attempts:
    return Attempts(the_checkpoints(database, tmp_path, clock=clock))
