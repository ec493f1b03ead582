"""The content of a log: what its effects add up to, and the snapshot that replaces a log grown too long.

An effect is ``[kind, namespace, value]``; a record of the log is one command's effects, all or none of them. Effects
are outcomes (a document as it became), so replaying does not depend on clocks, generated ids or half-failed commands.
"""

import os
from collections.abc import Callable, Iterator
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

    def snapshot(self) -> "Snapshot":
        return Snapshot(
            [
                (namespace, list(found.indexes.values()), list(found.documents.values()))
                for namespace, found in self.collections.items()
            ]
        )


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What the collections held at one moment: namespace, specifications of the indexes, documents in their order."""

    collections: list[tuple[str, list[Document], list[bytes]]]

    @property
    def live_bytes(self) -> int:
        return sum(len(raw) for _, _, raws in self.collections for raw in raws)

    def write(self, path: Path, *, may_go_on: Callable[[], bool] = lambda: True) -> bool:
        """Writes a log that holds just this, flushed to the disk; False when it was told to stop before the end.

        Raises ``OSError``.
        """
        with path.open("wb") as file:
            file.write(MAGIC)
            for payload in self._payloads():
                if not may_go_on():
                    return False
                file.write(frame(payload))
            file.flush()
            os.fsync(file.fileno())
        return True

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
        for namespace, specs, raws in self.collections:
            yield [Kind.CREATE, namespace, None]
            for spec in specs:
                yield [Kind.INDEX, namespace, spec]
            for raw in raws:
                yield [Kind.PUT, namespace, as_value(raw)]


def _identity(value: RawBSONDocument) -> Key:
    return order_key(decode(bytes(value.raw))["_id"])
