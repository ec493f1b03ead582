"""find, getMore, killCursors, aggregate, count and distinct."""

import time
from collections.abc import Iterator
from typing import Any

from app.devstack.store.aggregation import run, size_of, sort_of, stage_of
from app.devstack.store.catalog import Catalog
from app.devstack.store.cursors import Cursors
from app.devstack.store.documents import Document, encode
from app.devstack.store.errors import BadValue
from app.devstack.store.ordering import MISSING, order_key
from app.devstack.store.paths import leaves, split
from app.devstack.store.projection import compile_projection
from app.devstack.store.query import parse
from app.devstack.store.request import Request
from app.devstack.store.selection import Selection, count_only


class Reads:
    def __init__(self, catalog: Catalog, cursors: Cursors) -> None:
        self._catalog = catalog
        self._cursors = cursors

    def find(self, request: Request) -> Document:
        collection = self._catalog.peek(request.namespace)
        project = compile_projection(request.get("projection"))
        sequences = collection.find(
            parse(request.get("filter")),
            sort_of(request.get("sort") or {}),
            skip=size_of(request.get("skip") or 0, "skip"),
            limit=size_of(request.get("limit") or 0, "limit") or None,
        )
        raws: Iterator[bytes] = map(collection.raw, sequences)
        if project is not None:
            raws = (encode(project(collection.document(sequence))) for sequence in sequences)
        single = bool(request.get("singleBatch"))
        return self._cursor(request, raws, request.get("batchSize"), single=single)

    def aggregate(self, request: Request) -> Document:
        collection = self._catalog.peek(request.namespace)
        selection, rest = Selection.of([stage_of(stage) for stage in request.list_of("pipeline")])
        documents = count_only(rest, selection, collection)
        if documents is None:
            foreign = _Database(self._catalog, request.database)
            documents = run(selection.documents(collection), rest, foreign)
        options = request.get("cursor") or {}
        return self._cursor(request, map(encode, documents), options.get("batchSize"))

    def get_more(self, request: Request) -> Document:
        return {"cursor": self._cursors.more(request.get("getMore"), request.get("batchSize"), time.monotonic())}

    def kill_cursors(self, request: Request) -> Document:
        return self._cursors.kill(request.list_of("cursors"))

    def count(self, request: Request) -> Document:
        collection = self._catalog.peek(request.namespace)
        found = collection.count(parse(request.get("query")))
        rest = max(found - size_of(request.get("skip") or 0, "skip"), 0)
        limit = size_of(request.get("limit") or 0, "limit")
        return {"n": min(rest, limit) if limit else rest}

    def distinct(self, request: Request) -> Document:
        key = request.get("key")
        if not isinstance(key, str):
            raise BadValue("distinct.key must be a string")
        values: dict[Any, Any] = {}
        for document in self._catalog.peek(request.namespace).find_documents(parse(request.get("query")), []):
            for leaf in leaves(document, split(key)):
                items = leaf if isinstance(leaf, list) else [leaf]
                values |= {order_key(item): item for item in items if item is not MISSING}
        return {"values": list(values.values())}

    def _cursor(
        self, request: Request, raws: Iterator[bytes], batch_size: int | None, *, single: bool = False
    ) -> Document:
        return {"cursor": self._cursors.open(request.namespace, raws, batch_size, time.monotonic(), single=single)}


class _Database:
    """The other collections of a database, as ``$lookup`` reads them."""

    def __init__(self, catalog: Catalog, name: str) -> None:
        self._catalog = catalog
        self._name = name

    def get_collection(self, name: str) -> "_ForeignCollection":
        return _ForeignCollection(self._catalog, f"{self._name}.{name}")


class _ForeignCollection:
    def __init__(self, catalog: Catalog, namespace: str) -> None:
        self._collection = catalog.peek(namespace)

    def find(self, search: Document) -> Iterator[Document]:
        return self._collection.find_documents(parse(search), [])
