"""The disk under the embedded store: full, torn off in the middle of a record, damaged, and grown too long."""

import contextlib
import json
import os
import random
import resource
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from pymongo import MongoClient
from pymongo.errors import ConnectionFailure, OperationFailure

from app.devstack.store.commands import Commands
from app.devstack.store.folder import OpenFolder, open_folder
from app.devstack.store.log import LogCorrupted
from tests.chaos.conftest import StartWorld
from tests.chaos.verdict import Verdict
from tests.chaos.work import sleep, tick, work
from tests.processes import Process, Server, module, running, start, start_store, until
from tests.scenarios.stack import orchestrate

Document = dict[str, Any]
OUT_OF_DISK_SPACE = 14031
UNLIMITED = (resource.RLIM_INFINITY, resource.RLIM_INFINITY)
MEGABYTE = 1 << 20


def log_of(folder: Path) -> Path:
    return folder / "store" / "store.log"


@contextmanager
def opened(folder: Path) -> Iterator[OpenFolder]:
    """The store's folder in this process, as the server opens it."""
    found = open_folder(folder / "store", fsync=False)
    try:
        yield found
    finally:
        found.close()


def insert(folder: OpenFolder, **document: Any) -> None:
    reply = Commands(folder.catalog, folder.log).run({"insert": "c", "$db": "db", "documents": [document]})
    assert reply["ok"] == 1.0, reply
    assert reply["n"] == 1, reply


def ids(folder: OpenFolder) -> list[Any]:
    reply = Commands(folder.catalog, folder.log).run({"find": "c", "$db": "db", "filter": {}})
    return [document["_id"] for document in decoded(reply["cursor"]["firstBatch"])]


def decoded(raw: Any) -> list[Document]:
    return [dict(document) for document in raw]


def written(folder: Path, *, documents: int = 3) -> list[int]:
    """Inserts documents; answers where in the log each one's record begins, and where the last one ends."""
    with opened(folder) as store:
        insert(store, _id=0, text="x" * 40)
        places = [log_of(folder).stat().st_size]
        for number in range(1, documents):
            insert(store, _id=number, text="x" * 40)
            places.append(log_of(folder).stat().st_size)
    return places


@contextmanager
def only_room_for(pid: int, path: Path, more_bytes: int) -> Iterator[None]:
    """The process cannot make the file longer than that; it is told what a full disk would tell it."""
    room = path.stat().st_size + more_bytes
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (room, resource.RLIM_INFINITY))
    try:
        yield
    finally:
        with contextlib.suppress(ProcessLookupError):
            resource.prlimit(pid, resource.RLIMIT_FSIZE, UNLIMITED)


def test_wherever_a_crash_cut_off_the_last_record_every_earlier_one_is_there(tmp_path: Path) -> None:
    *_, begin, end = written(tmp_path)
    whole = log_of(tmp_path).read_bytes()
    assert end == len(whole)

    for length in range(begin, end):
        log_of(tmp_path).write_bytes(whole[:length])
        with opened(tmp_path) as store:
            assert ids(store) == [0, 1], f"cut at {length}"
            insert(store, _id="later")
        with opened(tmp_path) as store:
            assert ids(store) == [0, 1, "later"], f"cut at {length}"


def test_a_log_cut_off_in_its_very_first_bytes_is_an_empty_store(tmp_path: Path) -> None:
    with opened(tmp_path):
        empty = log_of(tmp_path).read_bytes()

    for length in range(len(empty)):
        log_of(tmp_path).write_bytes(empty[:length])
        with opened(tmp_path) as store:
            insert(store, _id="first")
        with opened(tmp_path) as store:
            assert ids(store) == ["first"], f"cut at {length}"


def test_whichever_byte_of_an_earlier_record_is_damaged_the_file_and_the_place_are_named(tmp_path: Path) -> None:
    begin, end, _ = written(tmp_path)
    whole = log_of(tmp_path).read_bytes()

    for place in range(begin, end):
        damaged = bytearray(whole)
        damaged[place] ^= 0x55
        log_of(tmp_path).write_bytes(damaged)
        with pytest.raises(LogCorrupted) as refused, opened(tmp_path):
            pass
        assert refused.value.offset == begin, f"damaged at {place}"
        assert f"{log_of(tmp_path)} is damaged at offset {begin}:" in str(refused.value)
        assert log_of(tmp_path).read_bytes() == damaged


def test_the_command_that_the_refusal_names_keeps_everything_before_the_damage(tmp_path: Path) -> None:
    begin, _, _ = written(tmp_path)
    damaged = bytearray(log_of(tmp_path).read_bytes())
    damaged[begin + 20] ^= 0x55
    log_of(tmp_path).write_bytes(damaged)
    with pytest.raises(LogCorrupted) as refused, opened(tmp_path):
        pass
    assert f"`truncate -s {begin} {log_of(tmp_path)}`" in str(refused.value)

    os.truncate(log_of(tmp_path), begin)

    with opened(tmp_path) as store:
        assert ids(store) == [0]


@pytest.mark.slow
def test_a_log_that_cannot_be_compacted_for_lack_of_space_still_opens(tmp_path: Path) -> None:
    server = start_store(tmp_path)
    with running(server.process), MongoClient[Document](server.mongo_uri) as client:
        for turn in range(4):
            for number in range(3):
                client.db.c.replace_one({"_id": number}, {"text": str(turn) * MEGABYTE}, upsert=True)
    before = log_of(tmp_path).stat().st_size

    with running(limited_store(tmp_path, kilobytes=2048)) as process:
        port = json.loads(process.says("listening"))["port"]
        with MongoClient[Document](Server(process, port).mongo_uri) as client:
            texts = {document["text"] for document in client.db.c.find()}
            with pytest.raises(OperationFailure) as refused:
                client.db.c.insert_one({"_id": "new"})

    assert texts == {"3" * MEGABYTE}
    assert refused.value.code == OUT_OF_DISK_SPACE
    assert "store.not_compacted" in process.read()
    assert log_of(tmp_path).stat().st_size == before
    assert {path.name for path in (tmp_path / "store").iterdir()} == {"store.log", "store.lock"}


def limited_store(folder: Path, *, kilobytes: int) -> Process:
    """A store that cannot make any file longer than that."""
    words = " ".join(module("app.devstack.store", "--port", "0", "--data-dir", str(folder / "store")))
    return start("limited", ("bash", "-c", f"ulimit -f {kilobytes}; exec {words}"), folder=folder)


@pytest.mark.slow
def test_the_log_of_a_running_store_stays_in_proportion_to_what_is_alive(tmp_path: Path) -> None:
    server = start_store(tmp_path)
    with MongoClient[Document](server.mongo_uri) as client:
        for turn in range(1200):
            client.db.c.replace_one({"_id": turn % 3}, {"turn": turn, "text": "x" * 50_000}, upsert=True)
        until(lambda: log_of(tmp_path).stat().st_size < 20 * MEGABYTE, "60 MB of history are gone")
        client.db.c.insert_one({"_id": "later"})
    server.process.kill()

    with running((again := start_store(tmp_path)).process), MongoClient[Document](again.mongo_uri) as client:
        assert {one["_id"]: one.get("turn") for one in client.db.c.find()} == {0: 1197, 1: 1198, 2: 1199, "later": None}


@pytest.mark.chaos
@pytest.mark.parametrize("seed", range(5))
def test_kill_9_while_the_log_is_compacted_loses_no_acknowledged_write(tmp_path: Path, seed: int) -> None:
    server = start_store(tmp_path)
    acknowledged: dict[int, int] = {}
    compacting = threading.Event()

    def write() -> None:
        with MongoClient[Document](server.mongo_uri) as client:
            try:
                for turn in range(100_000):
                    number = turn % 1000
                    client.db.c.replace_one({"_id": number}, {"turn": turn, "text": "x" * 20_000}, upsert=True)
                    acknowledged[number] = turn
                    if (tmp_path / "store" / "store.compacting").exists():
                        compacting.set()
            except ConnectionFailure:
                return

    writer = threading.Thread(target=write)
    writer.start()
    assert compacting.wait(60)
    # Anywhere within the compaction, or just behind it.
    time.sleep(random.Random(seed).uniform(0, 0.08))
    server.process.kill()
    writer.join()

    with running((again := start_store(tmp_path)).process), MongoClient[Document](again.mongo_uri) as client:
        found = {one["_id"]: one["turn"] for one in client.db.c.find({}, {"turn": 1})}
    late = {number: (turn, found.get(number)) for number, turn in acknowledged.items() if found.get(number, -1) < turn}
    assert late == {}
    assert not (tmp_path / "store" / "store.compacting").exists()


@pytest.mark.chaos
def test_a_full_disk_refuses_new_work_loses_none_and_everything_goes_on_when_there_is_space(
    start_world: StartWorld, verdict: Verdict
) -> None:
    world = start_world(workers=2)
    client = world.client()
    accepted = [client.submit(work(sleep(0.5), tick(1))) for _ in range(10)]
    world.started(accepted[0])

    with only_room_for(world.store.process.pid, log_of(world.folder), 20_000):
        until(lambda: client.try_submit(work(tick(1))).status == 503, "the store refuses")
        refused = [client.try_submit(work(tick(1)), key=f"key-{number}") for number in range(20)]
        # Longer than a lease: the workers, which cannot renew theirs, give their tasks up.
        until(lambda: "worker.lease_lost" in world.workers[0].process.read(), "a worker stops by itself")
        reads = [client.read(task_id)["task_id"] for task_id in accepted]
        verification = orchestrate("verify", folder=world.folder, **world.settings)
    later = [client.submit_stubbornly(work(tick(1)), key=f"key-{number}") for number in range(20)]
    client.all_final(patience=60)

    assert {answer.status for answer in refused} == {503}
    assert {answer.body["error"]["code"] for answer in refused} == {"SERVICE_UNAVAILABLE"}
    assert reads == accepted
    assert len(set(later)) == 20
    assert verification.returncode in {0, 1}
    verdict.check(world, client, spare_executions=2 * len(accepted))
    until(lambda: orchestrate("verify", folder=world.folder, **world.settings).returncode == 0, "all promises hold")


@pytest.mark.chaos
def test_a_store_that_is_killed_on_a_full_disk_comes_back_with_all_it_had_accepted(
    start_world: StartWorld, verdict: Verdict
) -> None:
    world = start_world(workers=1)
    client = world.client()
    accepted = [client.submit(work(sleep(0.2), tick(1))) for _ in range(10)]

    with only_room_for(world.store.process.pid, log_of(world.folder), 5_000):
        until(lambda: client.try_submit(work(tick(1))).status == 503, "the store refuses")
        world.kill_store()
    world.restart_store()
    client.all_final(patience=60)

    assert set(accepted) <= set(client.accepted)
    verdict.check(world, client, spare_executions=2 * len(client.accepted))
