"""Kept logs over the fake and over the embedded store: search, order, expiry, and how workers ship theirs."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest
from pymongo import AsyncMongoClient

from app.database.documents import Database, Documents
from app.database.errors import StoreFailure, StoreUnavailable
from app.database.indexes import ensure_indexes
from app.http.pagination import Cursor
from app.logs.models import LogEntry, LogLevel, LogQuery
from app.logs.repository import COLLECTION, INDEXES, LogRepository
from app.logs.shipping import WORKER, LogQueue, LogShipper
from tests.fakes.mongo import fake_mongo
from tests.job_builders import NOON, OTHER_TENANT, SECOND, TENANT, FakeClock
from tests.processes import Server

PATIENCE = 20
LIFETIME = timedelta(days=14)
EVERYTHING = LogQuery()


@pytest.fixture(params=["fake", "embedded"])
async def database(request: pytest.FixtureRequest) -> AsyncIterator[Database]:
    if request.param == "fake":
        yield fake_mongo()["tests"]
        return
    store: Server = request.getfixturevalue("store")
    client: AsyncMongoClient[dict[str, Any]] = AsyncMongoClient(store.mongo_uri, tz_aware=True)
    found = client[f"logs_{uuid4().hex}"]
    await ensure_indexes(found, INDEXES)
    yield found
    await client.close()


def a_repository(database: Database) -> LogRepository:
    return LogRepository(Documents(database[COLLECTION]), lifetime=LIFETIME, clock=FakeClock())


def an_entry(message: str, *, seconds: int = 0, level: LogLevel = LogLevel.INFO, **names: str) -> LogEntry:
    return LogEntry(NOON + seconds * SECOND, level, message, names, {"host.name": "a", "$odd": 1})


async def keep(repository: LogRepository, *entries: LogEntry, tenant_id: str = TENANT, batch: str = "") -> None:
    await repository.keep(batch or uuid4().hex, [(tenant_id, entry) for entry in entries], by="a-key")


async def messages(repository: LogRepository, query: LogQuery = EVERYTHING, *, tenant_id: str = TENANT) -> list[str]:
    return [one["message"] for one in await repository.list_newest(tenant_id, query, limit=100)]


async def test_entries_are_found_by_words_level_names_and_time_newest_first(database: Database) -> None:
    repository = a_repository(database)
    await keep(
        repository,
        an_entry("job.claimed by w1", task_id="t1"),
        an_entry("job.retry_scheduled", seconds=1, level=LogLevel.WARNING, task_id="t1"),
        an_entry("provider is down", seconds=2, level=LogLevel.ERROR, execution_id="e1", agent="CodeAgent"),
        an_entry("Job failed", seconds=3, level=LogLevel.CRITICAL, task_id="t2"),
    )
    found = [
        await messages(repository),
        await messages(repository, LogQuery(words="JOB")),
        await messages(repository, LogQuery(words="job retry")),
        await messages(repository, LogQuery(words="jo")),
        await messages(repository, LogQuery(words="!?")),
        await messages(repository, LogQuery(words="codeagent", level=LogLevel.WARNING)),
        await messages(repository, LogQuery(level=LogLevel.ERROR)),
        await messages(repository, LogQuery(task_id="t1")),
        await messages(repository, LogQuery(execution_id="e1")),
        await messages(repository, LogQuery(since=NOON + SECOND, until=NOON + 3 * SECOND)),
    ]

    everything = ["Job failed", "provider is down", "job.retry_scheduled", "job.claimed by w1"]
    assert found == [
        everything,
        [everything[0], everything[2], everything[3]],
        [everything[2]],
        [],
        [],
        [everything[1]],
        everything[:2],
        everything[2:],
        [everything[1]],
        everything[1:3],
    ]


async def test_a_tenant_finds_only_its_own(database: Database) -> None:
    repository = a_repository(database)

    await keep(repository, an_entry("mine"))
    await keep(repository, an_entry("theirs"), tenant_id=OTHER_TENANT)

    assert await messages(repository) == ["mine"]
    assert await messages(repository, LogQuery(words="mine"), tenant_id=OTHER_TENANT) == []


async def test_pages_are_whole_even_when_all_happened_at_once(database: Database) -> None:
    repository = a_repository(database)
    await keep(repository, *(an_entry(f"line {number}") for number in range(25)))

    seen: list[str] = []
    after: Cursor | None = None
    while found := await repository.list_newest(TENANT, EVERYTHING, limit=10, after=after):
        seen += [one["message"] for one in found]
        after = Cursor(found[-1]["at"], found[-1]["_id"])

    assert seen == [f"line {number}" for number in reversed(range(25))]


async def test_the_same_batch_again_adds_only_what_is_missing(database: Database) -> None:
    repository = a_repository(database)

    await keep(repository, an_entry("one"), batch="b")
    await keep(repository, an_entry("one"), an_entry("two"), batch="b")

    assert sorted(await messages(repository)) == ["one", "two"]


async def test_the_store_is_told_to_delete_entries_after_their_time_whatever_time_they_tell(database: Database) -> None:
    await ensure_indexes(database, INDEXES)
    await keep(a_repository(database), an_entry("old news", seconds=-10_000_000))

    stored = await database[COLLECTION].find_one({})
    indexes = await database[COLLECTION].index_information()

    assert stored is not None
    assert stored["expires_at"] == NOON + LIFETIME
    expiring = [index for index in indexes.values() if "expireAfterSeconds" in index]
    assert [(list(index["key"]), index["expireAfterSeconds"]) for index in expiring] == [([("expires_at", 1)], 0)]


class Away(LogRepository):
    """A store that fails so many times first."""

    def __init__(self, database: Database, failures: Sequence[Exception], *, is_written: bool = False) -> None:
        super().__init__(Documents(database[COLLECTION]), lifetime=LIFETIME, clock=FakeClock())
        self.failures = list(failures)
        self._is_written = is_written

    async def keep(self, batch: str, entries: Sequence[tuple[str, LogEntry]], *, by: str) -> None:
        if not self.failures or self._is_written:
            await super().keep(batch, entries, by=by)
        if self.failures:
            raise self.failures.pop(0)


def a_line(event: str = "job.claimed", **fields: Any) -> dict[str, Any]:
    told = {"timestamp": "2026-11-21T12:00:00.000Z", "level": "info", "event": event, "logger": "app.jobs"}
    return {**told, "service": "worker", "tenant_id": TENANT, **fields}


async def shipped(repository: LogRepository, count: int) -> list[str]:
    async with asyncio.timeout(PATIENCE):
        while len(found := await messages(repository)) < count:  # noqa: ASYNC110 - another task ships them
            await asyncio.sleep(0.01)
    return found


Counted = tuple[list[int], Callable[[int], None]]


@pytest.fixture
def dropped() -> Counted:
    counts: list[int] = []
    return counts, counts.append


async def test_a_workers_lines_are_kept_with_what_they_say(database: Database, dropped: Counted) -> None:
    queue, repository = LogQueue(), a_repository(database)
    shipper = LogShipper(queue, repository, on_dropped=dropped[1], pause=0.01)
    shipper.start()

    queue.put(a_line(task_id="t1", execution_id="e1", attempt=2, big=2**70, parts=["a"], broken="a\ud800"))
    await shipped(repository, 1)
    await shipper.close()

    [kept] = await repository.list_newest(TENANT, LogQuery(task_id="t1"), limit=10)
    assert (kept["message"], kept["level"], kept["logger"], kept["by"]) == ("job.claimed", "info", "app.jobs", WORKER)
    assert kept["at"] == datetime.fromisoformat("2026-11-21T12:00:00+00:00")
    fields = {one["name"]: one["value"] for one in kept["fields"]}
    assert fields == {"service": "worker", "attempt": 2, "big": str(2**70), "parts": "['a']", "broken": "a?"}
    assert dropped[0] == []


async def test_lines_that_are_nobodys_are_not_kept() -> None:
    queue = LogQueue()

    queue.put({name: value for name, value in a_line().items() if name != "tenant_id"})
    queue.put(a_line(tenant_id=None))

    assert len(queue) == 0


@pytest.mark.parametrize("is_written", [True, False])
async def test_lines_wait_while_the_store_is_away_and_are_kept_once(
    database: Database, dropped: Counted, is_written: bool
) -> None:
    queue, repository = LogQueue(), Away(database, [StoreUnavailable("away")] * 3, is_written=is_written)
    shipper = LogShipper(queue, repository, on_dropped=dropped[1], pause=0.01)
    for number in range(5):
        queue.put(a_line(f"line {number}"))

    shipper.start()
    async with asyncio.timeout(PATIENCE):
        while len(queue):  # noqa: ASYNC110 - another task ships them
            await asyncio.sleep(0.01)
    await shipper.close()

    assert sorted(await messages(repository)) == [f"line {number}" for number in range(5)]
    assert dropped[0] == []


async def test_a_full_queue_drops_lines_and_counts_them_and_never_waits(database: Database, dropped: Counted) -> None:
    queue, repository = LogQueue(most=10), a_repository(database)
    for number in range(25):
        queue.put(a_line(f"line {number}"))
    shipper = LogShipper(queue, repository, on_dropped=dropped[1], pause=0.01)

    shipper.start()
    found = await shipped(repository, 10)
    await shipper.close()

    assert sorted(found) == sorted(f"line {number}" for number in range(10))
    assert dropped[0] == [15]


async def test_lines_that_the_store_will_never_take_are_dropped_and_the_next_are_kept(
    database: Database, dropped: Counted
) -> None:
    queue, repository = LogQueue(), Away(database, [StoreFailure("no")])
    queue.put(a_line("bad"))
    shipper = LogShipper(queue, repository, on_dropped=dropped[1], pause=0.01)

    shipper.start()
    async with asyncio.timeout(PATIENCE):
        while len(queue):  # noqa: ASYNC110 - another task ships them
            await asyncio.sleep(0.01)
    queue.put(a_line("good"))
    await shipped(repository, 1)
    await shipper.close()

    assert await messages(repository) == ["good"]
    assert dropped[0] == [1]


async def test_what_is_there_at_the_end_is_shipped_or_counted_as_dropped(database: Database, dropped: Counted) -> None:
    for failures in ([], [StoreUnavailable("away")]):
        queue = LogQueue()
        shipper = LogShipper(queue, Away(database, failures), on_dropped=dropped[1])
        shipper.start()
        queue.put(a_line("the last word"))
        await shipper.close()

    assert await messages(a_repository(database)) == ["the last word"]
    assert dropped[0] == [1]
