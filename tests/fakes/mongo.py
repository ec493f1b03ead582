"""mongomock behind the surface of PyMongo's ``AsyncMongoClient``: a database for unit tests, in this process.

Each operation first lets other tasks run and is then atomic, so races between coroutines are real. Where mongomock is
known to answer wrongly without saying so, this module puts it right or refuses; what is left differs loudly: it raises.
"""

import asyncio
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Self, cast

import mongomock
from mongomock.aggregate import process_pipeline
from mongomock.collection import BulkOperationBuilder
from mongomock.results import BulkWriteResult  # type: ignore[attr-defined]
from pymongo import AsyncMongoClient, IndexModel
from pymongo.errors import WriteError

Document = dict[str, Any]

# Several operators of mongomock behave as in MongoDB 4.4 unless told otherwise.
mongomock.SERVER_VERSION = "7.0.0"

_process_pipeline: Any = process_pipeline
_bulk_builder: Any = BulkOperationBuilder

_UPDATES = {"update_one", "update_many", "find_one_and_update"}


def fake_mongo(*, tz_aware: bool = True) -> AsyncMongoClient[Document]:
    """An empty server of its own, typed as the driver's client."""
    return cast("AsyncMongoClient[Document]", FakeClient(tz_aware=tz_aware))


class FakeCursor:
    """What ``find`` and ``aggregate`` give; ``sort``, ``skip``, ``limit`` and the like chain."""

    def __init__(self, inner: Any) -> None:
        self._inner = inner

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._inner, name)

        def call(*args: Any, **options: Any) -> Any:
            result = method(*args, **options)
            return self if result is self._inner else result

        return call

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Document:
        try:
            return cast("Document", next(self._inner))
        except StopIteration:
            raise StopAsyncIteration from None

    async def next(self) -> Document:
        return await self.__anext__()

    async def to_list(self, length: int | None = None) -> list[Document]:
        await asyncio.sleep(0)
        found: list[Document] = []
        async for document in self:
            found.append(document)
            if length is not None and len(found) >= length:
                break
        return found

    async def close(self) -> None:
        pass

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        pass


class FakeCollection:
    def __init__(self, inner: Any) -> None:
        self._inner = inner

    @property
    def name(self) -> str:
        return cast("str", self._inner.name)

    @property
    def full_name(self) -> str:
        return cast("str", self._inner.full_name)

    @property
    def database(self) -> "FakeDatabase":
        return FakeDatabase(self._inner.database)

    def with_options(self, *_: Any, **__: Any) -> "FakeCollection":
        return self

    def __getitem__(self, name: str) -> "FakeCollection":
        return FakeCollection(self._inner[name])

    def __getattr__(self, name: str) -> Any:
        attribute = getattr(self._inner, name)
        if isinstance(attribute, mongomock.Collection):
            return FakeCollection(attribute)

        async def call(*args: Any, **options: Any) -> Any:
            await asyncio.sleep(0)
            if name in _UPDATES:
                _refuse_conflicts(options["update"] if "update" in options else args[1])
            return attribute(*args, **options)

        return call

    def find(self, *args: Any, **options: Any) -> FakeCursor:
        return FakeCursor(self._inner.find(*args, **options))

    async def aggregate(self, pipeline: Iterable[Document], **_: Any) -> FakeCursor:
        await asyncio.sleep(0)
        documents = list(self._inner.find())
        for stage in pipeline:
            # Over nothing, mongomock gives one group and a count of zero where MongoDB gives no document.
            if documents or not stage.keys() & {"$group", "$count"}:
                documents = list(_process_pipeline(documents, self._inner.database, [stage], None))
        return FakeCursor(iter(documents))

    async def bulk_write(self, requests: Iterable[Any], ordered: bool = True, **_: Any) -> Any:
        await asyncio.sleep(0)
        bulk = _Bulk(self._inner, ordered=ordered)
        for request in requests:
            request._add_to_bulk(bulk)
        return BulkWriteResult(bulk.execute(), True)

    async def create_indexes(self, indexes: Iterable[IndexModel], **_: Any) -> list[str]:
        # mongomock's own drops partialFilterExpression.
        return [await self.create_index(**_index_options(index)) for index in indexes]

    async def index_information(self) -> Document:
        await asyncio.sleep(0)
        information: Document = self._inner.index_information()
        return {"_id_": {"v": 2, "key": [("_id", 1)]}, **information}

    async def drop_index(self, index: Any, **_: Any) -> None:
        await asyncio.sleep(0)
        self._inner.drop_index(index)


class FakeDatabase:
    def __init__(self, inner: Any) -> None:
        self._inner = inner

    @property
    def name(self) -> str:
        return cast("str", self._inner.name)

    def __getitem__(self, name: str) -> FakeCollection:
        return FakeCollection(self._inner[name])

    def get_collection(self, name: str, **_: Any) -> FakeCollection:
        return self[name]

    def __getattr__(self, name: str) -> Any:
        attribute = getattr(self._inner, name)
        if isinstance(attribute, mongomock.Collection):
            return FakeCollection(attribute)

        async def call(*args: Any, **options: Any) -> Any:
            await asyncio.sleep(0)
            result = attribute(*args, **options)
            return FakeCollection(result) if isinstance(result, mongomock.Collection) else result

        return call

    async def command(self, command: str | Mapping[str, Any], *_: Any, **__: Any) -> Document:
        name = command if isinstance(command, str) else next(iter(command))
        if name not in ("ping", "hello", "buildInfo"):
            raise NotImplementedError(f"the fake database does not run the command {name!r}")
        return {"ok": 1.0}


class FakeClient:
    def __init__(self, *, tz_aware: bool = False) -> None:
        self._inner: Any = mongomock.MongoClient(tz_aware=tz_aware)

    def __getitem__(self, name: str) -> FakeDatabase:
        return FakeDatabase(self._inner[name])

    def __getattr__(self, name: str) -> FakeDatabase:
        if name.startswith("_"):
            raise AttributeError(name)
        return self[name]

    def get_database(self, name: str, **_: Any) -> FakeDatabase:
        return self[name]

    async def drop_database(self, name: str) -> None:
        self._inner.drop_database(name)

    async def list_database_names(self) -> list[str]:
        return list(self._inner.list_database_names())

    async def close(self) -> None:
        pass

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        pass


class _Bulk:
    """mongomock 4.3 predates the ``sort`` that PyMongo passes along."""

    def __init__(self, inner: Any, *, ordered: bool) -> None:
        self._builder = _bulk_builder(inner, ordered=ordered)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._builder, name)

    def add_update(self, *args: Any, sort: Any = None, **options: Any) -> None:
        _refuse_sort(sort)
        self._builder.add_update(*args, **options)

    def add_replace(self, *args: Any, sort: Any = None, **options: Any) -> None:
        _refuse_sort(sort)
        self._builder.add_replace(*args, **options)


def _refuse_sort(sort: Any) -> None:
    if sort is not None:
        raise NotImplementedError("the fake database cannot sort within bulk_write")


def _index_options(index: IndexModel) -> Document:
    document = dict(index.document)
    return {"key_or_list": list(document.pop("key").items()), **document}


def _refuse_conflicts(update: Any) -> None:
    """mongomock applies two operators to one path in turn; MongoDB refuses."""
    paths = list(_updated_paths(update))
    for path in paths:
        if paths.count(path) > 1 or any(other.startswith(f"{path}.") for other in paths):
            raise WriteError(f"Updating the path '{path}' would create a conflict at '{path}'", 40)


def _updated_paths(update: Any) -> Iterator[str]:
    if isinstance(update, Mapping):
        for fields in update.values():
            yield from fields
