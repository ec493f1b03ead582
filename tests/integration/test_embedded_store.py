"""The embedded store as a process: what a crash, a full disk, a damaged file or a rude client does to it."""

import json
import resource
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from pymongo import MongoClient, UpdateOne, WriteConcern
from pymongo.errors import BulkWriteError, ConnectionFailure, DuplicateKeyError, OperationFailure, PyMongoError

from tests.processes import Process, Server, module, running, start, start_store, until

Document = dict[str, Any]
Client = MongoClient[Document]

OUT_OF_DISK_SPACE = 14031
TOO_LARGE = 10334

MEGABYTE = 1 << 20


def connect(server: Server) -> Client:
    return MongoClient(server.mongo_uri, tz_aware=True, serverSelectionTimeoutMS=5000)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    """A store of this test's own."""
    own = start_store(tmp_path)
    with running(own.process):
        yield own


@pytest.fixture
def client(server: Server) -> Iterator[Client]:
    with connect(server) as client:
        yield client


def log_of(folder: Path) -> Path:
    return folder / "store" / "store.log"


def refused(folder: Path) -> Process:
    """A start that has to fail; the process has ended."""
    (folder / "second").mkdir(exist_ok=True)
    argv = module("app.devstack.store", "--port", "0", "--data-dir", str(folder / "store"))
    process = start("refused", argv, folder=folder / "second")
    with running(process):
        process.wait()
    return process


def content(client: Client) -> Document:
    """Everything there is: documents in their order, and indexes."""
    return {
        f"{database}.{name}": (list(client[database][name].find()), client[database][name].index_information())
        for database in client.list_database_names()
        for name in sorted(client[database].list_collection_names())
    }


def write_a_bit_of_everything(client: Client) -> None:
    jobs = client.db.jobs
    jobs.create_index([("status", 1), ("at", -1)])
    jobs.create_index("key", unique=True, partialFilterExpression={"key": {"$type": "string"}})
    jobs.insert_many([{"key": f"k{number}", "status": "queued", "at": datetime.now(UTC)} for number in range(20)])
    with pytest.raises(BulkWriteError):
        jobs.insert_many([{"_id": "a"}, {"_id": "b", "key": "k3"}, {"_id": "c"}])
    with pytest.raises(BulkWriteError):
        jobs.bulk_write(
            [UpdateOne({"_id": "a"}, {"$set": {"key": "k1"}}), UpdateOne({"_id": "a"}, {"$set": {"n": 1}})],
            ordered=False,
        )
    jobs.update_many({"status": "queued"}, {"$currentDate": {"seen": True}, "$inc": {"n": 1}})
    jobs.update_one({"name": "upserted"}, {"$set": {"n": 1}}, upsert=True)
    jobs.find_one_and_delete({"key": "k5"})
    jobs.delete_many({"key": {"$in": ["k6", "k7"]}})
    jobs.create_index("gone")
    jobs.drop_index("gone_1")
    client.db.dropped.insert_one({})
    client.db.dropped.drop()
    client.other.kept.insert_one({"_id": {"a": 1}, "big": 2**40})
    client.third.gone.insert_one({})
    client.drop_database("third")


def test_it_announces_itself_and_stops_cleanly(tmp_path: Path) -> None:
    server = start_store(tmp_path)

    with connect(server) as client:
        hello = client.admin.command("hello")
        server.process.popen.terminate()

    assert server.process.wait() == 0
    assert abs(hello["localTime"].replace(tzinfo=UTC) - datetime.now(UTC)) < timedelta(minutes=1)
    assert "setName" not in hello


@pytest.mark.slow
def test_kill_9_during_a_stream_of_writes_loses_no_acknowledged_one(tmp_path: Path) -> None:
    server = start_store(tmp_path)
    inserted: list[int] = []
    updated: list[int] = []
    enough = threading.Event()

    def write() -> None:
        with connect(server) as client:
            try:
                for number in range(100_000):
                    client.db.c.insert_one({"_id": number, "text": "x" * 500})
                    inserted.append(number)
                    client.db.c.update_one({"_id": number}, {"$set": {"seen": True}})
                    updated.append(number)
                    if number == 300:
                        enough.set()
            except ConnectionFailure:
                return

    writer = threading.Thread(target=write)
    writer.start()
    assert enough.wait(30)
    server.process.kill()
    writer.join()

    with running((again := start_store(tmp_path)).process), connect(again) as client:
        found = {document["_id"] for document in client.db.c.find({}, {"_id": 1})}
        seen = {document["_id"] for document in client.db.c.find({"seen": True}, {"_id": 1})}
    assert set(inserted) <= found
    assert set(updated) <= seen
    assert len(found) <= len(inserted) + 1


def test_a_restart_brings_back_exactly_what_was_there(tmp_path: Path) -> None:
    server = start_store(tmp_path)
    with connect(server) as client:
        write_a_bit_of_everything(client)
        before = content(client)
    server.process.kill()

    with running((again := start_store(tmp_path)).process), connect(again) as client:
        assert content(client) == before
        with pytest.raises(DuplicateKeyError):
            client.db.jobs.insert_one({"key": "k1"})


def test_flushing_every_write_works_as_well(tmp_path: Path) -> None:
    argv = module("app.devstack.store", "--port", "0", "--data-dir", str(tmp_path / "store"), "--fsync")
    process = start("store", argv, folder=tmp_path)
    with running(process):
        port = json.loads(process.says("listening"))["port"]
        with connect(Server(process, port)) as client:
            client.db.c.insert_one({"_id": 1})
        process.kill()

    with running((again := start_store(tmp_path)).process), connect(again) as client:
        assert list(client.db.c.find()) == [{"_id": 1}]


@pytest.mark.parametrize("cut", [1, 5, 60])
def test_a_record_cut_off_by_a_crash_is_dropped_with_a_warning(tmp_path: Path, cut: int) -> None:
    server = start_store(tmp_path)
    with connect(server) as client:
        client.db.c.insert_many([{"_id": number} for number in range(10)])
        client.db.c.insert_one({"_id": 10, "text": "x" * 100})
    server.process.kill()
    log = log_of(tmp_path)
    log.write_bytes(log.read_bytes()[:-cut])

    with running((again := start_store(tmp_path)).process), connect(again) as client:
        assert [document["_id"] for document in client.db.c.find()] == list(range(10))
        assert "torn_record" in again.process.read()
        client.db.c.insert_one({"_id": 11})


def test_zeros_after_the_last_record_are_what_a_power_cut_leaves(tmp_path: Path) -> None:
    server = start_store(tmp_path)
    with connect(server) as client:
        client.db.c.insert_one({"_id": 1})
    server.process.kill()
    with log_of(tmp_path).open("ab") as log:
        log.write(bytes(4096))

    with running((again := start_store(tmp_path)).process), connect(again) as client:
        assert list(client.db.c.find()) == [{"_id": 1}]


@pytest.mark.parametrize("damage", ["length", "content", "last record", "beginning"])
def test_a_damaged_log_is_refused_and_left_alone(tmp_path: Path, damage: str) -> None:
    server = start_store(tmp_path)
    sizes = []
    with connect(server) as client:
        for number in range(3):
            sizes.append(log_of(tmp_path).stat().st_size)
            client.db.c.insert_one({"_id": number, "text": "x" * 100})
    server.process.kill()
    offset = {"length": sizes[1] + 1, "content": sizes[1] + 80, "last record": sizes[2] + 80, "beginning": 3}[damage]
    log = log_of(tmp_path)
    damaged = bytearray(log.read_bytes())
    damaged[offset] ^= 0xFF
    log.write_bytes(damaged)

    process = refused(tmp_path)

    record = {"length": sizes[1], "content": sizes[1], "last record": sizes[2], "beginning": 0}[damage]
    assert process.wait() == 1
    assert f"damaged at offset {record}:" in process.read()
    assert log.read_bytes() == damaged


def test_a_second_store_on_the_same_folder_says_so_and_ends(tmp_path: Path, server: Server) -> None:
    process = refused(tmp_path)

    assert process.wait() == 1
    assert f"in use by another store (process {server.process.pid})" in process.read()


@pytest.mark.slow
def test_a_long_log_is_compacted_at_start_and_keeps_everything(tmp_path: Path) -> None:
    server = start_store(tmp_path)
    with connect(server) as client:
        write_a_bit_of_everything(client)
        client.db.empty.create_index("a")
        for turn in range(60):
            client.db.big.update_one({"_id": turn % 3}, {"$set": {"text": str(turn) * 50_000}}, upsert=True)
        before = content(client)
    server.process.kill()
    grown = log_of(tmp_path).stat().st_size

    with running((again := start_store(tmp_path)).process), connect(again) as client:
        assert content(client) == before
        client.db.big.insert_one({"_id": "later"})
    assert log_of(tmp_path).stat().st_size < grown / 10

    with running((third := start_store(tmp_path)).process), connect(third) as client:
        assert client.db.big.count_documents({}) == 4


def test_a_full_disk_fails_the_write_and_nothing_of_it_stays(tmp_path: Path, server: Server, client: Client) -> None:
    jobs = client.db.jobs
    jobs.create_index("key", unique=True)
    jobs.insert_many([{"_id": number, "key": number} for number in range(10)])
    before = content(client)
    room = log_of(tmp_path).stat().st_size + 2000
    resource.prlimit(server.process.pid, resource.RLIMIT_FSIZE, (room, resource.RLIM_INFINITY))

    large = "x" * 3000
    failures: list[Callable[[], object]] = [
        lambda: jobs.insert_one({"_id": 10, "key": 10, "text": large}),
        lambda: jobs.update_many({}, {"$set": {"text": large}}),
        lambda: jobs.find_one_and_update({"_id": 1}, {"$set": {"key": 77, "text": large}}),
        lambda: jobs.bulk_write(
            [UpdateOne({"_id": 1}, {"$set": {"text": large}}), UpdateOne({"_id": 2}, {"$inc": {"n": 1}})]
        ),
        lambda: client.db.fresh.insert_one({"text": large}),
    ]
    for write in failures:
        with pytest.raises(OperationFailure) as failed:
            write()
        assert failed.value.code == OUT_OF_DISK_SPACE
        assert content(client) == before
    resource.prlimit(server.process.pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    jobs.insert_one({"_id": 10, "key": 10, "text": large})
    after = content(client)
    client.close()
    server.process.kill()

    with running((again := start_store(tmp_path)).process), connect(again) as third:
        assert content(third) == after


def test_unacknowledged_writes_happen_without_an_answer(client: Client) -> None:
    quiet = client.db.get_collection("c", write_concern=WriteConcern(w=0))

    for number in range(5):
        quiet.insert_one({"_id": number})

    assert until(lambda: client.db.c.count_documents({}) == 5, "all inserts are there")


def test_a_document_cannot_grow_beyond_sixteen_megabytes(client: Client) -> None:
    client.db.c.insert_one({"_id": 1, "a": "x" * (9 * MEGABYTE)})

    with pytest.raises(PyMongoError) as failed:
        client.db.c.update_one({"_id": 1}, {"$set": {"b": "x" * (9 * MEGABYTE)}})

    assert getattr(failed.value, "code", None) == TOO_LARGE
    assert client.db.c.find_one({"_id": 1}, {"a": 0}) == {"_id": 1}


def test_large_results_come_in_messages_a_driver_accepts(client: Client) -> None:
    client.db.c.insert_many([{"_id": number, "text": "x" * (4 * MEGABYTE)} for number in range(6)])

    assert [document["_id"] for document in client.db.c.find({}, batch_size=100)] == list(range(6))


def test_a_duplicate_names_the_index_and_the_value(client: Client) -> None:
    client.db.c.create_index([("tenant", 1), ("key", 1)], unique=True)
    client.db.c.insert_many([{"tenant": "t", "key": "k"}, {"tenant": "t", "key": "other"}])

    for write in (
        lambda: client.db.c.insert_one({"tenant": "t", "key": "k"}),
        lambda: client.db.c.find_one_and_update({"key": "other"}, {"$set": {"key": "k"}}),
    ):
        with pytest.raises(DuplicateKeyError) as failed:
            write()
        assert failed.value.details is not None
        assert failed.value.details["keyPattern"] == {"tenant": 1, "key": 1}
        assert failed.value.details["keyValue"] == {"tenant": "t", "key": "k"}


def test_what_it_does_not_know_it_refuses(client: Client) -> None:
    c = client.db.c
    c.insert_one({"_id": 1, "a": "x", "l": [{"v": 1}]})
    before = content(client)

    def transaction() -> None:
        with client.start_session() as session, session.start_transaction():
            c.insert_one({"_id": 2}, session=session)

    attempts = [
        lambda: list(c.find({"$expr": {"$eq": ["$a", "$b"]}})),
        lambda: list(c.find({"a": "X"}, collation={"locale": "en", "strength": 2})),
        lambda: list(c.find({"$text": {"$search": "x"}})),
        lambda: c.update_one({}, [{"$set": {"b": 1}}]),
        lambda: c.update_one({}, {"$set": {"l.$[e].v": 2}}, array_filters=[{"e.v": 1}]),
        lambda: c.update_one({}, {"$bit": {"a": {"or": 1}}}),
        lambda: list(c.aggregate([{"$out": "other"}])),
        lambda: list(c.aggregate([{"$setWindowFields": {}}])),
        lambda: list(c.aggregate([{"$group": {"_id": None, "p": {"$stdDevPop": "$a"}}}])),
        lambda: c.create_index([("a", "text")]),
        lambda: c.create_index([("$**", 1)]),
        lambda: client.db.create_collection("v", validator={"a": 1}),
        lambda: client.db.command("mapReduce", "c"),
        lambda: next(c.watch()),
        transaction,
    ]
    for attempt in attempts:
        with pytest.raises(OperationFailure):
            attempt()

    assert content(client) == before


def test_groups_read_missing_fields_and_booleans_as_mongodb_does(client: Client) -> None:
    client.db.c.insert_many([{"_id": 1, "flag": True, "n": 0}, {"_id": 2, "note": "x", "n": 0}])

    [group] = client.db.c.aggregate(
        [
            {"$sort": {"_id": 1}},
            {
                "$group": {
                    "_id": None,
                    "flags": {"$sum": "$flag"},
                    "noted": {"$sum": {"$cond": [{"$ne": ["$note", "x"]}, 1, 0]}},
                    "all": {"$push": {"id": "$_id", "note": "$note"}},
                    "first": {"$first": "$note"},
                    "set": {"$addToSet": "$n"},
                }
            },
        ]
    )

    assert group == {
        "_id": None,
        "flags": 0,
        "noted": 1,
        "all": [{"id": 1}, {"id": 2, "note": "x"}],
        "first": None,
        "set": [0],
    }


def test_positional_updates_change_the_element_the_filter_matched(client: Client) -> None:
    client.db.c.insert_one({"_id": 1, "s": [{"id": "a", "v": 1}, {"id": "b", "v": 1}]})

    client.db.c.update_one({"_id": 1, "s.id": "b"}, {"$set": {"s.$.v": 2}})
    client.db.c.update_one({"_id": 1, "s": {"$elemMatch": {"id": "a"}}}, {"$inc": {"s.$.v": 10}})

    assert client.db.c.find_one() == {"_id": 1, "s": [{"id": "a", "v": 11}, {"id": "b", "v": 2}]}


@pytest.mark.slow
def test_expired_documents_go_and_stay_gone(tmp_path: Path, server: Server, client: Client) -> None:
    client.db.c.create_index("until", expireAfterSeconds=0)
    now = datetime.now(UTC)
    client.db.c.insert_many(
        [{"_id": 1, "until": now - timedelta(seconds=1)}, {"_id": 2, "until": now + timedelta(hours=1)}, {"_id": 3}]
    )

    assert until(lambda: client.db.c.count_documents({}) == 2, "the expired document is gone")
    client.close()
    server.process.kill()

    with running((again := start_store(tmp_path)).process), connect(again) as second:
        assert [document["_id"] for document in second.db.c.find()] == [2, 3]
