"""The kernel over mongomock, with a clock that only moves when told to."""

import pytest

from app.database.documents import Database, Documents
from app.jobs.recovery import Recovery
from app.jobs.store import JobStore
from app.jobs.workers import WorkerDirectory
from tests.fakes.mongo import fake_mongo
from tests.job_builders import REDISPATCH, FakeClock, Recorder


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def database() -> Database:
    return fake_mongo()["tests"]


@pytest.fixture
def documents(database: Database) -> Documents:
    return Documents(database["jobs"])


@pytest.fixture
def jobs(documents: Documents, clock: FakeClock) -> JobStore:
    return JobStore(documents, clock=clock, redispatch=REDISPATCH)


@pytest.fixture
def recovery(documents: Documents, clock: FakeClock) -> Recovery:
    return Recovery(documents, clock=clock, redispatch=REDISPATCH)


@pytest.fixture
def workers(database: Database, clock: FakeClock) -> WorkerDirectory:
    return WorkerDirectory(Documents(database["workers"]), clock=clock)


@pytest.fixture
def bell() -> Recorder:
    return Recorder()


Changes = list[str]


@pytest.fixture
def changes() -> Changes:
    return []
