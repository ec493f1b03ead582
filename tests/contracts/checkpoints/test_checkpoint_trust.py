"""What is read back is not trusted: nothing is built from it but what was asked for."""

import os
import pickle
from pathlib import Path
from typing import Any

import ormsgpack
import pytest

from app.checkpoints.errors import CheckpointUnusable, StateNotStorable
from app.checkpoints.serde import StrictSerializer
from app.database.documents import Database
from app.llm.search import SearchResult
from tests.checkpoint_builders import (
    CONFIG,
    MEBIBYTE,
    Attempts,
    Script,
    a_chain,
    blobs_in,
    stored,
    wrote,
)


async def test_a_lost_or_changed_blob_makes_the_thread_unusable(attempts: Attempts, tmp_path: Path) -> None:
    await attempts.start(a_chain(Script(does={"first": wrote(2 * MEBIBYTE)}), ["first"]), 1)
    (blob,) = blobs_in(tmp_path)

    blob.write_bytes(b"changed")
    with pytest.raises(CheckpointUnusable):
        await attempts.saver(2).aget_tuple(CONFIG)
    blob.unlink()
    with pytest.raises(CheckpointUnusable):
        await attempts.saver(3).aget_tuple(CONFIG)


def crafted(module: str, name: str, *arguments: Any, code: int = 0) -> bytes:
    """A value that, when it is read, wants something of the module to be called."""
    return ormsgpack.packb({"x": ormsgpack.Ext(code, ormsgpack.packb((module, name, *arguments)))})


@pytest.mark.parametrize(
    ("kind", "data"),
    [
        ("msgpack", crafted("os", "system", "touch CANARY")),
        ("msgpack", crafted("subprocess", "Popen", [["touch", "CANARY"]], code=1)),
        ("msgpack", crafted("subprocess", "Popen", {"args": ["touch", "CANARY"]}, code=2)),
        ("msgpack", crafted("pathlib", "Path", "CANARY", "touch", code=3)),
        ("msgpack", crafted("app.llm.search", "SearchResult", {"title": "t"}, code=2)),
        ("msgpack", b"\xc1 this is no msgpack"),
        ("pickle", pickle.dumps(os.getcwd)),
        ("json", b'{"lc": 2, "type": "constructor", "id": ["os", "getcwd"]}'),
    ],
)
async def test_a_crafted_checkpoint_is_not_read(
    attempts: Attempts, database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, data: bytes
) -> None:
    monkeypatch.chdir(tmp_path)
    await attempts.start(a_chain(Script(), ["first"]), 1)
    ((key, _),) = (await stored(database))["spaces"].items()
    await database["checkpoints"].update_one({}, {"$set": {f"spaces.{key}.checkpoint": {"kind": kind, "data": data}}})

    with pytest.raises(CheckpointUnusable):
        await attempts.saver(2).aget_tuple(CONFIG)

    assert [path for path in blobs_in(tmp_path) if "CANARY" in path.name] == []


@pytest.mark.parametrize("part", ["checkpoint", "writes", "id"])
async def test_a_thread_that_lacks_a_part_is_unusable(attempts: Attempts, database: Database, part: str) -> None:
    await attempts.start(a_chain(Script(), ["first"]), 1)
    ((key, _),) = (await stored(database))["spaces"].items()
    await database["checkpoints"].update_one({}, {"$unset": {f"spaces.{key}.{part}": ""}})

    with pytest.raises(CheckpointUnusable):
        await attempts.saver(2).aget_tuple(CONFIG)


async def test_a_document_that_lacks_a_part_is_unusable(attempts: Attempts, database: Database) -> None:
    await attempts.start(a_chain(Script(), ["first"]), 1)
    await database["checkpoints"].update_one({}, {"$unset": {"spaces": ""}})

    with pytest.raises(CheckpointUnusable):
        await attempts.saver(2).aget_tuple(CONFIG)


def test_the_types_that_are_listed_come_back_as_they_were() -> None:
    source = SearchResult("Page", "https://example.com", "A fact.", "example.com")
    strict = StrictSerializer([SearchResult])

    assert strict.loads_typed(strict.dumps_typed({"sources": [source]})) == {"sources": [source]}
    with pytest.raises(CheckpointUnusable, match="SearchResult"):
        StrictSerializer().loads_typed(strict.dumps_typed({"sources": [source]}))


def test_what_cannot_be_stored_is_said_to_be_so() -> None:
    with pytest.raises(StateNotStorable):
        StrictSerializer().dumps_typed({"client": object()})
