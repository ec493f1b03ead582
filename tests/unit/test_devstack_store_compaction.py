"""The embedded store's log is rewritten beside the work: what is written meanwhile is in the new one too."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from app.devstack.store.commands import Commands
from app.devstack.store.compaction import MINIMUM_BYTES, Compaction
from app.devstack.store.folder import OpenFolder, open_folder
from app.devstack.store.log import LogUnusable

LONG = "x" * 300_000


@contextmanager
def opened(folder: Path, *, fsync: bool = False) -> Iterator[OpenFolder]:
    found = open_folder(folder, fsync=fsync)
    try:
        yield found
    finally:
        found.close()


class Seconds:
    """A monotonic clock that only moves when told to."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def compaction_of(store: OpenFolder, seconds: Seconds | None = None) -> Compaction:
    return Compaction(store.catalog, store.log, live_bytes=store.live_bytes, monotonic=seconds or Seconds())


def put(store: OpenFolder, number: int, text: str = LONG) -> dict[str, Any]:
    replacement = {"q": {"_id": number}, "u": {"text": text}, "upsert": True}
    return Commands(store.catalog, store.log).run({"update": "c", "$db": "db", "updates": [replacement]})


def content(store: OpenFolder) -> Any:
    """Everything there is, by collection: documents in their order, and indexes."""
    return sorted((name, specs, raws) for name, specs, raws in store.catalog.snapshot().collections)


def grow(store: OpenFolder) -> None:
    """A collection with an index and enough history for a compaction."""
    index = {"name": "text_1", "key": {"text": 1}}
    Commands(store.catalog, store.log).run({"createIndexes": "c", "$db": "db", "indexes": [index]})
    Commands(store.catalog, store.log).run({"create": "empty", "$db": "db"})
    number = 0
    while store.log.size <= MINIMUM_BYTES + 2 * store.live_bytes:
        put(store, number % 3, str(number) + LONG)
        number += 1


@pytest.mark.parametrize("fsync", [False, True])
async def test_what_is_written_during_a_compaction_is_in_the_new_log(tmp_path: Path, fsync: bool) -> None:
    with opened(tmp_path, fsync=fsync) as store:
        grow(store)
        compaction = compaction_of(store)
        due_before = compaction.is_due

        running = asyncio.create_task(compaction.run())
        number = 10
        while not running.done():
            if number < 30:
                put(store, number)
                number += 1
            await asyncio.sleep(0)
        put(store, 0, "after it")
        expected = content(store)
        size = store.log.size
        due_after = compaction.is_due

    assert (due_before, due_after) == (True, False)
    assert number == 30
    assert (tmp_path / "store.log").stat().st_size == size < MINIMUM_BYTES
    with opened(tmp_path) as again:
        assert content(again) == expected


async def test_a_short_log_is_left_alone(tmp_path: Path) -> None:
    with opened(tmp_path) as store:
        put(store, 1)

        assert not compaction_of(store).is_due


async def test_a_log_of_what_is_alive_is_left_alone_however_long(tmp_path: Path) -> None:
    with opened(tmp_path) as store:
        for number in range(100):
            put(store, number)
    with opened(tmp_path) as again:
        assert again.log.size > MINIMUM_BYTES
        assert not compaction_of(again).is_due


async def test_a_compaction_that_fails_changes_nothing_and_is_tried_again_later(tmp_path: Path) -> None:
    seconds = Seconds()
    with opened(tmp_path) as store:
        grow(store)
        compaction, in_the_way = compaction_of(store, seconds), tmp_path / "store.compacting"
        in_the_way.mkdir()

        await compaction.run()
        due_at_once = compaction.is_due
        put(store, 10, "still written")
        seconds.now += 61
        in_the_way.rmdir()
        assert compaction.is_due
        await compaction.run()
        expected, size = content(store), store.log.size

    assert not due_at_once
    assert size < MINIMUM_BYTES
    with opened(tmp_path) as again:
        assert content(again) == expected


async def test_a_log_that_cannot_be_written_any_more_is_replaced_by_one_that_can(tmp_path: Path) -> None:
    with opened(tmp_path) as store:
        put(store, 1, "kept")
        store.log._is_broken = True
        with pytest.raises(LogUnusable):
            store.log.append(b"x")
        refused = put(store, 2)
        compaction = compaction_of(store)
        assert compaction.is_due

        await compaction.run()
        accepted = put(store, 3, "new")
        expected = content(store)

    assert (refused["code"], accepted["ok"]) == (14031, 1.0)
    with opened(tmp_path) as again:
        assert content(again) == expected
        assert again.catalog.document_count == 2


async def test_a_compaction_that_is_told_to_stop_leaves_the_log_as_it_was(tmp_path: Path) -> None:
    with opened(tmp_path) as store:
        grow(store)
        compaction, size = compaction_of(store), store.log.size
        compaction.stop()

        await compaction.run()

        assert store.log.size == size
