"""hello and its kin, collections and indexes."""

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

from bson import Int64

from app.devstack.store.catalog import Catalog, Journal
from app.devstack.store.documents import MAX_DOCUMENT_BYTES, Document
from app.devstack.store.errors import BadValue, IndexNotFound, NamespaceNotFound
from app.devstack.store.index import IndexSpec
from app.devstack.store.query import parse
from app.devstack.store.request import Request
from app.devstack.store.wire import MAX_MESSAGE_BYTES

_VERSION = [7, 0, 0, 0]

# MongoDB 7.0; drivers ask for at least 8.
_MAX_WIRE_VERSION = 21


def hello(_: Request) -> Document:
    """A standalone server: no set name, so that drivers neither retry writes nor start transactions."""
    return {
        "helloOk": True,
        "ismaster": True,
        "isWritablePrimary": True,
        "maxBsonObjectSize": MAX_DOCUMENT_BYTES,
        "maxMessageSizeBytes": MAX_MESSAGE_BYTES,
        "maxWriteBatchSize": 100_000,
        "localTime": datetime.now(UTC),
        "logicalSessionTimeoutMinutes": 30,
        "minWireVersion": 0,
        "maxWireVersion": _MAX_WIRE_VERSION,
        "readOnly": False,
    }


def nothing(_: Request) -> Document:
    return {}


def build_info(_: Request) -> Document:
    version = ".".join(map(str, _VERSION[:3]))
    return {"version": version, "versionArray": _VERSION, "maxBsonObjectSize": MAX_DOCUMENT_BYTES}


def create(request: Request, journal: Journal) -> Document:
    journal.create(request.namespace)
    return {}


def drop(request: Request, journal: Journal) -> Document:
    collection = journal.drop(request.namespace)
    return {"ns": request.namespace, "nIndexesWas": len(collection.indexes)}


def create_indexes(request: Request, journal: Journal) -> Document:
    collection = journal.peek(request.namespace)
    before = len(collection.indexes)
    for document in request.list_of("indexes"):
        journal.create_index(collection, IndexSpec.from_document(document))
    return {"numIndexesBefore": before, "numIndexesAfter": len(collection.indexes)}


def drop_indexes(request: Request, journal: Journal) -> Document:
    collection = journal.peek(request.namespace)
    before = len(collection.indexes)
    for name in _named_indexes(request.get("index"), [index.spec for index in collection.indexes.values()]):
        journal.drop_index(collection, name)
    return {"nIndexesWas": before}


def _named_indexes(wanted: Any, specs: Iterable[IndexSpec]) -> list[str]:
    match wanted:
        case "*":
            return [spec.name for spec in specs if spec.name != "_id_"]
        case str():
            return [wanted]
        case dict():
            names = [spec.name for spec in specs if dict(spec.fields) == wanted]
            if not names:
                raise IndexNotFound(f"can't find index with key: {wanted!r}")
            return names
        case _:
            raise BadValue(f"dropIndexes.index must be a name or a key, not {wanted!r:.80}")


class Administration:
    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog

    def drop_database(self, request: Request, journal: Journal) -> Document:
        for name in self._catalog.names(request.database):
            journal.drop(f"{request.database}.{name}")
        return {"dropped": request.database}

    def list_indexes(self, request: Request) -> Document:
        """Raises :class:`NamespaceNotFound`."""
        collection = self._catalog.get(request.namespace)
        if collection is None:
            raise NamespaceNotFound(f"ns does not exist: {request.namespace}")
        return _listing(request.namespace, [index.spec.as_document() for index in collection.indexes.values()])

    def list_collections(self, request: Request) -> Document:
        query = parse(request.get("filter"))
        found = [
            {"name": name, "type": "collection", "options": {}, "info": {"readOnly": False}}
            for name in self._catalog.names(request.database)
        ]
        return _listing(f"{request.database}.$cmd.listCollections", filter(query.matches, found))

    def list_databases(self, request: Request) -> Document:
        query = parse(request.get("filter"))
        sizes = {name: self._size(name) for name in self._catalog.databases()}
        found = [{"name": name, "sizeOnDisk": Int64(size), "empty": False} for name, size in sizes.items()]
        return {"databases": list(filter(query.matches, found)), "totalSize": Int64(sum(sizes.values()))}

    def _size(self, database: str) -> int:
        found = [self._catalog.peek(f"{database}.{name}") for name in self._catalog.names(database)]
        return sum(len(raw) for collection in found for raw in collection.raws())


def _listing(namespace: str, items: Iterable[Document]) -> Document:
    return {"cursor": {"firstBatch": list(items), "id": Int64(0), "ns": namespace}}
