"""Random filters, sorts and updates: the embedded engine against mongomock, and with indexes against without."""

from datetime import datetime, timedelta
from typing import Any

import mongomock
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pymongo.errors import PyMongoError

from app.devstack.store.catalog import Catalog
from app.devstack.store.commands import Commands
from app.devstack.store.documents import decode

Document = dict[str, Any]

NOON = datetime(2026, 3, 1, 12)  # noqa: DTZ001 - mongomock keeps times without a zone

PATHS = ["a", "b", "c.d", "l", "m.x"]

# No booleans, floats or documents with several keys: mongomock takes True for 1 and ignores the order of fields.
scalars = st.one_of(
    st.none(),
    st.integers(0, 3),
    st.sampled_from(["x", "y", ""]),
    st.integers(0, 3).map(lambda h: NOON + timedelta(hours=h)),
)
bounds = st.one_of(st.integers(0, 3), st.sampled_from(["x", "y"]), st.just(NOON + timedelta(hours=1)))
arrays = st.lists(st.one_of(st.integers(0, 3), st.sampled_from(["x", "y"])), max_size=3)

documents = st.fixed_dictionaries(
    {},
    optional={
        "a": scalars,
        "b": scalars,
        "c": st.fixed_dictionaries({}, optional={"d": scalars}),
        "l": arrays,
        "m": st.lists(st.fixed_dictionaries({"x": st.integers(0, 3)}), max_size=2),
    },
)

conditions = st.one_of(
    scalars,
    st.fixed_dictionaries({"$eq": scalars}),
    st.fixed_dictionaries({"$ne": scalars}),
    st.fixed_dictionaries({"$in": st.lists(scalars, max_size=3)}),
    st.fixed_dictionaries({"$nin": st.lists(scalars, max_size=3)}),
    st.fixed_dictionaries({"$exists": st.booleans()}),
    st.fixed_dictionaries({}, optional={"$gt": bounds, "$lte": bounds}).filter(bool),
    st.fixed_dictionaries({}, optional={"$gte": bounds, "$lt": bounds}).filter(bool),
)
plain = st.dictionaries(st.sampled_from(["a", "b", "c.d", "l"]), conditions, max_size=3)
filters = st.one_of(plain, st.fixed_dictionaries({"$or": st.lists(plain, min_size=1, max_size=2), "a": conditions}))

sorts = st.dictionaries(st.sampled_from(["a", "b", "c.d"]), st.sampled_from([1, -1]), min_size=1, max_size=2)

indexes = st.lists(
    st.lists(st.sampled_from(PATHS), min_size=1, max_size=3, unique=True),
    max_size=3,
    unique_by=lambda keys: tuple(keys),
)

updates = st.one_of(
    st.fixed_dictionaries({"$set": st.dictionaries(st.sampled_from(["a", "c.d", "e.f"]), scalars, min_size=1)}),
    st.fixed_dictionaries({"$unset": st.just({"a": "", "c.d": ""})}),
    st.fixed_dictionaries({"$inc": st.just({"n": 2, "k.n": 1})}),
    st.fixed_dictionaries({"$push": st.fixed_dictionaries({"l": scalars})}),
    st.fixed_dictionaries({"$addToSet": st.fixed_dictionaries({"l": scalars})}),
    st.fixed_dictionaries({"$pull": st.fixed_dictionaries({"l": st.integers(0, 3)})}),
    st.fixed_dictionaries({"$max": st.just({"n": 3}), "$min": st.just({"k.n": 3})}),
)


class Engine:
    """The embedded store without its sockets and its log."""

    def __init__(self, stored: list[Document], keys: list[list[str]]) -> None:
        self._commands = Commands(Catalog(), None)
        for paths in keys:
            index = {"key": dict.fromkeys(paths, 1), "name": "_".join(paths)}
            self.run({"createIndexes": "c", "indexes": [index]})
        self.run({"insert": "c", "documents": stored})

    def run(self, command: Document) -> Document:
        reply = self._commands.run({**command, "$db": "db"})
        assert reply["ok"], reply
        assert "writeErrors" not in reply, reply
        return reply

    def find(self, search: Document, **options: Any) -> list[Document]:
        batch = self.run({"find": "c", "filter": search, "batchSize": 1000, **options})["cursor"]["firstBatch"]
        return [decode(document.raw) for document in batch]


def numbered(found: list[Document]) -> list[Document]:
    return [{"_id": number, **document} for number, document in enumerate(found)]


def by_id(found: list[Document]) -> list[Document]:
    return sorted(found, key=lambda document: document["_id"])


@given(st.lists(documents, max_size=8).map(numbered), filters, indexes)
@settings(max_examples=150, deadline=None)
def test_a_filter_finds_the_same_as_mongomock_whatever_the_indexes(
    stored: list[Document], search: Document, keys: list[list[str]]
) -> None:
    reference: Any = mongomock.MongoClient().db.c
    if stored:
        reference.insert_many(stored)
    engine = Engine(stored, keys)

    found = by_id(engine.find(search))

    assert found == by_id(list(reference.find(search)))
    counted = engine.run({"aggregate": "c", "pipeline": [{"$match": search}, {"$count": "n"}], "cursor": {}})
    assert counted["cursor"]["firstBatch"] == [] or decode(counted["cursor"]["firstBatch"][0].raw) == {"n": len(found)}


@given(st.lists(documents, max_size=8).map(numbered), plain, sorts, indexes, st.integers(1, 4))
@settings(max_examples=100, deadline=None)
def test_sorting_does_not_depend_on_indexes(
    stored: list[Document], search: Document, order: Document, keys: list[list[str]], limit: int
) -> None:
    total = {**order, "_id": 1}
    scanned = Engine(stored, []).find(search, sort=total)
    indexed = Engine(stored, [*keys, list(total)])

    assert indexed.find(search, sort=total) == scanned
    assert indexed.find(search, sort=total, limit=limit) == scanned[:limit]
    assert indexed.find(search, sort=total, skip=1, limit=limit) == scanned[1 : 1 + limit]


@given(st.lists(documents, max_size=6).map(numbered), plain, st.lists(updates, max_size=3), indexes)
@settings(max_examples=100, deadline=None)
def test_updates_leave_the_same_documents_as_mongomock_and_indexes_that_agree(
    stored: list[Document], search: Document, changes: list[Document], keys: list[list[str]]
) -> None:
    reference: Any = mongomock.MongoClient().db.c
    if stored:
        reference.insert_many(stored)
    engine = Engine(stored, keys)

    for change in changes:
        try:
            reference.update_many(search, change)
        except (PyMongoError, TypeError, AttributeError, KeyError):
            return
        reply = engine._commands.run(
            {"update": "c", "updates": [{"q": search, "u": change, "multi": True}], "$db": "db"}
        )
        if "writeErrors" in reply:
            # mongomock ignores a path that leads through a scalar; MongoDB refuses it.
            return

    left = engine.find({})
    assert left == list(reference.find())
    for path in PATHS:
        for value in (None, 1, "x"):
            expected = by_id(Engine(left, []).find({path: value}))
            assert by_id(engine.find({path: value})) == expected


@pytest.mark.parametrize("keys", [[], [["a"]]], ids=["scanned", "indexed"])
def test_a_boolean_is_no_number(keys: list[list[str]]) -> None:
    engine = Engine([{"_id": 1, "a": True}, {"_id": 2, "a": 1}, {"_id": 3, "a": 1.0}], keys)

    assert [document["_id"] for document in engine.find({"a": True})] == [1]
    assert [document["_id"] for document in engine.find({"a": 1})] == [2, 3]
