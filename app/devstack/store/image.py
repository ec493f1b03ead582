"""The content of a log: what its effects add up to, and the snapshot that replaces a log grown too long.

An effect is ``[kind, namespace, value]``; a record of the log is one command's effects, all or none of them. Effects
are outcomes (a document as it became), so replaying does not depend on clocks, generated ids or half-failed commands.
"""

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any

import bson
from bson import CodecOptions
from bson.raw_bson import RawBSONDocument

from app.devstack.store.documents import Document, as_value, decode
from app.devstack.store.log import MAGIC, frame
from app.devstack.store.ordering import Key, order_key

Effect = list[Any]

_RAW: CodecOptions[RawBSONDocument] = CodecOptions(document_class=RawBSONDocument)

_SNAPSHOT_RECORD_BYTES = 1 << 20


class Kind(StrEnum):
    PUT = "p"
    DELETE = "d"
    CREATE = "c"
    DROP = "r"
    INDEX = "i"
    DROP_INDEX = "x"


def pack(effects: list[Effect]) -> bytes:
    return bson.encode({"e": effects})


@dataclass(slots=True)
class CollectionImage:
    documents: dict[Key, bytes] = field(default_factory=dict)
    indexes: dict[str, Document] = field(default_factory=dict)


@dataclass(slots=True)
class Image:
    collections: dict[str, CollectionImage] = field(default_factory=dict)

    def apply(self, payload: bytes) -> None:
        for kind, namespace, value in bson.decode(payload, _RAW)["e"]:
            if kind == Kind.DROP:
                self.collections.pop(namespace, None)
            else:
                self._apply(kind, self.collections.setdefault(namespace, CollectionImage()), value)

    def _apply(self, kind: str, collection: CollectionImage, value: Any) -> None:
        match Kind(kind):
            case Kind.PUT:
                collection.documents[_identity(value)] = bytes(value.raw)
            case Kind.DELETE:
                del collection.documents[_identity(value)]
            case Kind.INDEX:
                collection.indexes[value["name"]] = decode(bytes(value.raw))
            case Kind.DROP_INDEX:
                del collection.indexes[value["name"]]
            case _:
                pass

    @property
    def live_bytes(self) -> int:
        return sum(len(raw) for found in self.collections.values() for raw in found.documents.values())

    def write(self, path: Path) -> None:
        """Replaces the file at once: a crash leaves the old log or the new one, never a mix."""
        fresh = path.with_suffix(".compacting")
        with fresh.open("wb") as file:
            file.write(MAGIC)
            for payload in self._payloads():
                file.write(frame(payload))
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(path)
        _sync_folder(path.parent)

    def _payloads(self) -> Iterator[bytes]:
        batch: list[Effect] = []
        size = 0
        for effect in self._effects():
            batch.append(effect)
            size += len(effect[2].raw) if effect[0] == Kind.PUT else 0
            if size > _SNAPSHOT_RECORD_BYTES:
                yield pack(batch)
                batch, size = [], 0
        if batch:
            yield pack(batch)

    def _effects(self) -> Iterator[Effect]:
        for namespace, collection in self.collections.items():
            yield [Kind.CREATE, namespace, None]
            for spec in collection.indexes.values():
                yield [Kind.INDEX, namespace, spec]
            for raw in collection.documents.values():
                yield [Kind.PUT, namespace, as_value(raw)]


def _identity(value: RawBSONDocument) -> Key:
    return order_key(decode(bytes(value.raw))["_id"])


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
