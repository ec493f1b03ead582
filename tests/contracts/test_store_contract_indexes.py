"""Unique, partial, sparse and TTL indexes, as every store has to keep them."""

from datetime import timedelta
from typing import Any

import pytest
from pymongo import IndexModel
from pymongo.errors import OperationFailure

from tests.contracts.store_cases_updates import NOON
from tests.contracts.store_outcomes import Database, Document, attempt, ids


async def test_a_unique_index_refuses_a_second_document_however_it_comes(db: Database) -> None:
    await db.c.create_index("e", unique=True)
    await db.c.insert_many([{"_id": 1, "e": 1}, {"_id": 2, "e": 2}])

    outcomes = [
        await attempt(db.c.insert_one({"e": 1})),
        await attempt(db.c.update_one({"_id": 2}, {"$set": {"e": 1}})),
        await attempt(db.c.find_one_and_update({"_id": 2}, {"$set": {"e": 1}})),
        await attempt(db.c.update_one({"_id": 3}, {"$set": {"e": 1}}, upsert=True)),
        await attempt(db.c.replace_one({"_id": 2}, {"e": 1})),
    ]

    assert outcomes == ["duplicate"] * 5
    assert await db.c.find().sort("_id", 1).to_list() == [{"_id": 1, "e": 1}, {"_id": 2, "e": 2}]


async def test_a_unique_value_is_free_again_after_a_change_or_a_deletion(db: Database) -> None:
    await db.c.create_index("e", unique=True)
    await db.c.insert_many([{"_id": 1, "e": 1}, {"_id": 2, "e": 2}])

    await db.c.update_one({"_id": 1}, {"$set": {"e": 3}})
    await db.c.delete_one({"_id": 2})

    assert await attempt(db.c.insert_one({"e": 1})) == "accepted"
    assert await attempt(db.c.insert_one({"e": 2})) == "accepted"
    assert await attempt(db.c.insert_one({"e": 3})) == "duplicate"


@pytest.mark.parametrize(
    ("keys", "document"), [("e", {}), ([("a", 1), ("b", 1)], {"a": 1}), ("a.b", {"a": {"b": 1}})], ids=str
)
async def test_missing_and_nested_values_are_unique_too(db: Database, keys: Any, document: Document) -> None:
    await db.c.create_index(keys, unique=True)

    await db.c.insert_one(dict(document))

    assert await attempt(db.c.insert_one(dict(document))) == "duplicate"


@pytest.mark.parametrize(
    ("expression", "inside", "outside"),
    [
        ({"k": {"$type": "string"}}, {"t": 1, "k": "a"}, {"t": 1, "k": None}),
        ({"k": {"$exists": True}}, {"t": 1, "k": "a"}, {"t": 1}),
        ({"status": "active"}, {"t": 1, "k": "a", "status": "active"}, {"t": 1, "k": "a", "status": "done"}),
    ],
    ids=["type", "exists", "value"],
)
async def test_a_partial_unique_index_leaves_other_documents_alone(
    db: Database, expression: Document, inside: Document, outside: Document
) -> None:
    index = IndexModel([("t", 1), ("k", 1)], unique=True, partialFilterExpression=expression)
    await db.c.create_indexes([index])

    await db.c.insert_many([dict(inside), dict(outside), dict(outside)])

    assert await attempt(db.c.insert_one(dict(inside))) == "duplicate"
    assert await db.c.count_documents({"t": 1}) == 3
    assert await db.c.count_documents(inside) == 1


async def test_a_sparse_unique_index_ignores_documents_without_the_field(db: Database) -> None:
    await db.c.create_index("e", unique=True, sparse=True)

    await db.c.insert_many([{}, {}, {"e": 1}])

    assert await attempt(db.c.insert_one({"e": 1})) == "duplicate"
    assert await db.c.count_documents({"e": None}) == 2


async def test_a_unique_index_cannot_be_built_over_duplicates(db: Database) -> None:
    await db.c.insert_many([{"e": 1}, {"e": 1}])

    with pytest.raises(OperationFailure):
        await db.c.create_index("e", unique=True)


async def test_indexes_are_listed_with_their_options(db: Database) -> None:
    expression = {"e": {"$type": "string"}}
    await db.c.create_indexes(
        [
            IndexModel([("a", 1), ("b", -1)]),
            IndexModel("e", name="own", unique=True, partialFilterExpression=expression),
            IndexModel("gone_at", expireAfterSeconds=60),
        ]
    )

    indexes = await db.c.index_information()

    assert sorted(indexes) == ["_id_", "a_1_b_-1", "gone_at_1", "own"]
    assert [tuple(pair) for pair in indexes["a_1_b_-1"]["key"]] == [("a", 1), ("b", -1)]
    assert indexes["own"]["unique"] is True
    assert indexes["own"]["partialFilterExpression"] == expression
    assert indexes["gone_at_1"]["expireAfterSeconds"] == 60


async def test_creating_an_index_again_is_nothing_and_differently_is_refused(db: Database) -> None:
    await db.c.create_index("a", name="own")

    assert await db.c.create_index("a", name="own") == "own"
    with pytest.raises(OperationFailure):
        await db.c.create_index("b", name="own")


async def test_dropping_an_index_keeps_the_one_on_the_id(db: Database) -> None:
    await db.c.create_index("a", name="own")

    await db.c.drop_index("own")

    assert sorted(await db.c.index_information()) == ["_id_"]


async def test_a_ttl_index_keeps_what_has_not_expired_or_is_no_time(db: Database) -> None:
    await db.c.create_index("until", expireAfterSeconds=3600)

    await db.c.insert_many([{"_id": 1, "until": NOON + timedelta(days=36500)}, {"_id": 2, "until": "soon"}, {"_id": 3}])

    assert await ids(db.c.find().sort("_id", 1)) == [1, 2, 3]
