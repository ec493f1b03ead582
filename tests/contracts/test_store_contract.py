"""What every store promises the repositories, read and written the way they do it."""

import asyncio
from collections import Counter
from datetime import timedelta
from typing import Any

import pytest
from pymongo import DeleteOne, InsertOne, ReplaceOne, ReturnDocument, UpdateOne
from pymongo.errors import BulkWriteError, OperationFailure, PyMongoError

from tests.contracts.store_cases_aggregation import PIPELINES, RUNS
from tests.contracts.store_cases_queries import (
    DOCUMENTS,
    INDEXED_PATHS,
    PROJECTIONS,
    QUERIES,
    REFUSED_QUERIES,
    SORTS,
)
from tests.contracts.store_cases_updates import NOON, REFUSED_UPDATES, UPDATES
from tests.contracts.store_outcomes import Database, Document, exact, ids

AFTER = ReturnDocument.AFTER


@pytest.mark.parametrize("method", ["update_one", "update_many", "find_one_and_update"])
async def test_an_update_changes_the_document_as_the_table_says(db: Database, method: str) -> None:
    await db.c.insert_many([{"_id": case.name, **case.before} for case in UPDATES])

    for case in UPDATES:
        await getattr(db.c, method)({"_id": case.name, **case.search}, case.update)

    found = {document.pop("_id"): exact(document) async for document in db.c.find()}
    assert found == {case.name: exact(case.after) for case in UPDATES}


@pytest.mark.parametrize(("name", "update"), REFUSED_UPDATES)
async def test_a_wrong_update_is_refused_and_changes_nothing(db: Database, name: str, update: Document) -> None:
    await db.c.insert_one({"_id": 1, "a": "x", "l": 1})

    with pytest.raises((PyMongoError, TypeError, AttributeError)):
        await db.c.update_one({"_id": 1}, update)

    assert (await db.c.find_one({})) == {"_id": 1, "a": "x", "l": 1}


async def test_an_update_tells_what_it_matched_and_what_it_changed(db: Database) -> None:
    await db.c.insert_many([{"_id": 1, "g": 1, "z": 1}, {"_id": 2, "g": 1}, {"_id": 3, "g": 2}])

    some = await db.c.update_many({"g": 1}, {"$set": {"z": 1}})
    same = await db.c.update_one({"_id": 1}, {"$set": {"z": 1}})
    none = await db.c.update_one({"_id": 9}, {"$set": {"z": 1}})

    counts = [(result.matched_count, result.modified_count) for result in (some, same, none)]
    assert counts == [(2, 1), (1, 0), (0, 0)]


async def test_an_upsert_inserts_the_filter_and_the_update(db: Database) -> None:
    search = {"_id": "k", "t": "x", "n": {"$gte": 5}}

    result = await db.c.update_one(search, {"$inc": {"c": 1}, "$setOnInsert": {"at": NOON}}, upsert=True)

    assert result.upserted_id == "k"
    assert await db.c.find_one({}) == {"_id": "k", "t": "x", "c": 1, "at": NOON}


async def test_an_upsert_of_a_document_that_is_there_is_an_update(db: Database) -> None:
    for days in range(3):
        change = {"$inc": {"n": 1}, "$setOnInsert": {"at": NOON + timedelta(days=days)}}
        await db.c.update_one({"_id": "k"}, change, upsert=True)

    assert await db.c.find_one({}) == {"_id": "k", "n": 3, "at": NOON}


async def test_a_replacement_keeps_the_id_and_drops_the_rest(db: Database) -> None:
    await db.c.insert_one({"_id": 1, "a": 1})

    await db.c.replace_one({"_id": 1}, {"z": 1})
    await db.c.replace_one({"_id": 2}, {"a": NOON}, upsert=True)
    replaced = await db.c.find_one_and_replace({"_id": 1}, {"y": 1}, return_document=AFTER)

    assert replaced == {"_id": 1, "y": 1}
    assert await db.c.find_one({"_id": 2}) == {"_id": 2, "a": NOON}


async def test_deleting_one_and_many(db: Database) -> None:
    await db.c.insert_many([{"_id": number, "g": number % 2} for number in range(6)])

    one = await db.c.delete_one({"g": 0})
    many = await db.c.delete_many({"g": 1})

    assert (one.deleted_count, many.deleted_count) == (1, 3)
    assert await ids(db.c.find().sort("_id", 1)) == [2, 4]


async def test_bulk_writes_are_counted_by_kind(db: Database) -> None:
    result = await db.c.bulk_write(
        [
            InsertOne({"_id": 1, "a": 1}),
            UpdateOne({"_id": 1}, {"$set": {"a": NOON}}),
            UpdateOne({"_id": 2}, {"$inc": {"a": 1}}, upsert=True),
            ReplaceOne({"_id": 2}, {"b": 1}),
            DeleteOne({"_id": 1}),
        ]
    )

    counts = (result.inserted_count, result.modified_count, result.upserted_count, result.deleted_count)
    assert counts == (1, 2, 1, 1)
    assert await db.c.find().to_list() == [{"_id": 2, "b": 1}]


@pytest.mark.parametrize(("ordered", "kept"), [(True, [0, 1]), (False, [0, 1, 2])])
async def test_insert_many_stops_at_a_duplicate_only_when_ordered(db: Database, ordered: bool, kept: list[int]) -> None:
    await db.c.insert_one({"_id": 1})

    with pytest.raises(BulkWriteError) as failed:
        await db.c.insert_many([{"_id": 0}, {"_id": 1}, {"_id": 2}], ordered=ordered)

    assert [error["index"] for error in failed.value.details["writeErrors"]] == [1]
    assert await ids(db.c.find().sort("_id", 1)) == kept


async def test_find_and_update_gives_the_document_before_or_after(db: Database) -> None:
    await db.c.insert_one({"_id": 1, "v": 1, "big": "x"})

    before = await db.c.find_one_and_update({"_id": 1}, {"$inc": {"v": 1}}, projection={"v": 1})
    after = await db.c.find_one_and_update({"_id": 1}, {"$inc": {"v": 1}}, return_document=AFTER)
    none = await db.c.find_one_and_update({"_id": 2}, {"$inc": {"v": 1}})

    assert (before, after, none) == ({"_id": 1, "v": 1}, {"_id": 1, "v": 3, "big": "x"}, None)


async def test_find_and_update_takes_the_first_in_order(db: Database) -> None:
    later = NOON + timedelta(days=1)
    await db.c.insert_many(
        [
            {"_id": 1, "priority": 1, "at": NOON, "s": "queued"},
            {"_id": 2, "priority": 2, "at": later, "s": "queued"},
            {"_id": 3, "priority": 2, "at": NOON, "s": "queued"},
        ]
    )

    order = [("priority", -1), ("at", 1)]
    taken = [await db.c.find_one_and_update({"s": "queued"}, {"$set": {"s": "taken"}}, sort=order) for _ in range(4)]

    assert [document["_id"] if document else None for document in taken] == [3, 2, 1, None]


async def test_find_and_update_can_upsert(db: Database) -> None:
    change = {"$inc": {"n": 1}}

    first = await db.c.find_one_and_update({"_id": "k"}, change, upsert=True, return_document=AFTER)
    second = await db.c.find_one_and_update({"_id": "k"}, change, upsert=True, return_document=AFTER)

    assert [first, second] == [{"_id": "k", "n": 1}, {"_id": "k", "n": 2}]


async def test_a_lock_is_taken_over_once_it_expired(db: Database) -> None:
    await db.c.insert_one({"_id": 1, "until": NOON, "owner": "old"})

    def take(moment: Any) -> Any:
        free = {"_id": 1, "$or": [{"until": None}, {"until": {"$lt": moment}}]}
        return db.c.find_one_and_update(free, {"$set": {"owner": "new"}}, return_document=AFTER)

    assert await take(NOON) is None
    assert (await take(NOON + timedelta(seconds=1)))["owner"] == "new"


async def test_find_and_delete_removes_what_it_returns(db: Database) -> None:
    await db.c.insert_many([{"_id": 1, "n": 2}, {"_id": 2, "n": 1}])

    found = await db.c.find_one_and_delete({}, sort=[("n", 1)])

    assert found == {"_id": 2, "n": 1}
    assert await ids(db.c.find()) == [1]


async def test_fifty_racing_claims_have_one_winner_per_job(db: Database) -> None:
    await db.c.create_index([("status", 1), ("not_before", 1)])
    await db.c.insert_many([{"_id": job, "status": "queued", "not_before": NOON, "attempt": 0} for job in range(5)])

    async def claim(worker: int) -> Any:
        job = worker % 5
        due = {"_id": job, "status": "queued", "not_before": {"$lte": NOON}}
        change = {"$set": {"status": "processing", "worker": worker}, "$inc": {"attempt": 1}}
        return await db.c.find_one_and_update(due, change, return_document=AFTER)

    claimed = [job for job in await asyncio.gather(*map(claim, range(50))) if job]

    assert Counter(job["_id"] for job in claimed) == Counter(range(5))
    assert {job["_id"]: job["worker"] for job in claimed} == {
        job["_id"]: job["worker"] async for job in db.c.find({"attempt": 1})
    }


async def test_fifty_racing_takers_of_the_first_in_order_get_one_each(db: Database) -> None:
    await db.c.create_index([("status", 1), ("at", 1)])
    await db.c.insert_many([{"_id": job, "status": "queued", "at": NOON} for job in range(40)])

    async def take() -> Any:
        return await db.c.find_one_and_update({"status": "queued"}, {"$set": {"status": "taken"}}, sort=[("at", 1)])

    taken = [job["_id"] for job in await asyncio.gather(*(take() for _ in range(50))) if job]

    assert sorted(taken) == list(range(40))


async def test_racing_increments_are_all_counted(db: Database) -> None:
    await asyncio.gather(*(db.c.update_one({"_id": "n"}, {"$inc": {"n": 1}}, upsert=True) for _ in range(2)))
    await asyncio.gather(*(db.c.update_one({"_id": "n"}, {"$inc": {"n": 1}}) for _ in range(48)))

    assert await db.c.find_one({}) == {"_id": "n", "n": 50}


@pytest.mark.parametrize("paths", [[], INDEXED_PATHS], ids=["scanned", "indexed"])
async def test_a_filter_finds_the_documents_the_table_says(db: Database, paths: list[str]) -> None:
    await db.c.insert_many(DOCUMENTS)
    for path in paths:
        await db.c.create_index(path)

    found = [(search, sorted(await ids(db.c.find(search)))) for search, _ in QUERIES]
    counted = [(search, await db.c.count_documents(search)) for search, _ in QUERIES]

    assert found == QUERIES
    assert counted == [(search, len(expected)) for search, expected in QUERIES]


@pytest.mark.parametrize("search", REFUSED_QUERIES, ids=str)
async def test_a_wrong_filter_is_refused(db: Database, search: Document) -> None:
    await db.c.insert_one({"_id": 1, "a": 1})

    with pytest.raises(OperationFailure):
        await db.c.find_one(search)


@pytest.mark.parametrize("indexed", [False, True], ids=["scanned", "indexed"])
async def test_results_come_sorted(db: Database, indexed: bool) -> None:
    await db.c.insert_many(DOCUMENTS)
    for order, _ in SORTS if indexed else []:
        await db.c.create_index(order)

    assert [(order, await ids(db.c.find().sort(order))) for order, _ in SORTS] == SORTS
    for order, expected in SORTS:
        assert await ids(db.c.find().sort(order).skip(1).limit(2)) == expected[1:3]


async def test_a_projection_keeps_and_drops_fields(db: Database) -> None:
    await db.c.insert_many(DOCUMENTS)

    found = [(projection, await db.c.find_one({"_id": 1}, projection)) for projection, _ in PROJECTIONS]

    assert found == PROJECTIONS


async def test_counting(db: Database) -> None:
    await db.c.insert_many([{"g": number % 2} for number in range(5)])

    assert await db.c.estimated_document_count() == 5
    assert await db.c.count_documents({"g": 0}) == 3
    assert await db.c.count_documents({"g": 0}, limit=2) == 2
    assert await db.c.count_documents({"g": 7}) == 0


async def test_distinct_values_include_the_elements_of_arrays(db: Database) -> None:
    await db.c.insert_many(DOCUMENTS)

    assert sorted(await db.c.distinct("o.k")) == ["a", "b"]
    assert sorted(await db.c.distinct("tags", {"_id": {"$lt": 3}})) == ["x", "y"]


async def test_a_long_result_comes_in_batches(db: Database) -> None:
    await db.c.insert_many([{"_id": number} for number in range(1000)])

    assert await ids(db.c.find().sort("_id", 1).batch_size(70)) == list(range(1000))


async def test_documents_come_in_the_order_they_were_inserted(db: Database) -> None:
    for number in (3, 1, 2):
        await db.c.insert_one({"_id": number})
    await db.c.update_one({"_id": 3}, {"$set": {"a": 1}})

    assert await ids(db.c.find()) == [3, 1, 2]


async def test_ids_of_different_types_are_different(db: Database) -> None:
    text = "65f1f77bcf86cd7994390111"
    await db.c.insert_many([{"_id": 1}, {"_id": "1"}, {"_id": text}])

    found = await db.c.find_one({"_id": text})

    assert found is not None
    assert isinstance(found["_id"], str)
    assert await db.c.count_documents({"_id": 1}) == 1


async def test_values_keep_their_types(db: Database) -> None:
    document: Document = {
        "_id": 1,
        "i": 3,
        "f": 3.0,
        "b": True,
        "n": None,
        "t": NOON,
        "x": b"\x00\xff",
        "s": "ü😀",
        "l": [],
        "d": {},
    }
    await db.c.insert_one(dict(document))

    assert exact(await db.c.find_one({})) == exact(document)


async def test_what_was_read_is_a_copy(db: Database) -> None:
    await db.c.insert_one({"_id": 1, "l": [1]})

    first = await db.c.find_one({})
    assert first is not None
    first["l"].append(2)

    assert await db.c.find_one({}) == {"_id": 1, "l": [1]}


async def test_a_pipeline_gives_what_the_table_says(db: Database) -> None:
    await db.runs.insert_many(RUNS)

    found = {name: await (await db.runs.aggregate(pipeline)).to_list() for name, pipeline, _ in PIPELINES}

    assert exact(found) == {name: exact(result) for name, _, result in PIPELINES}


async def test_an_unknown_stage_is_refused(db: Database) -> None:
    await db.c.insert_one({})

    with pytest.raises((OperationFailure, NotImplementedError)):
        await (await db.c.aggregate([{"$bogus": 1}])).to_list()


async def test_collections_are_listed_and_dropped(db: Database) -> None:
    await db.c.insert_one({})
    await db["a.b"].insert_one({})
    await db.c.drop()

    assert await db.list_collection_names() == ["a.b"]
    assert await db.c.count_documents({}) == 0
    assert await db["a.b"].count_documents({}) == 1


async def test_reading_what_is_not_there_finds_nothing(db: Database) -> None:
    await db.c.update_one({"_id": 1}, {"$set": {"a": 1}})
    await db.c.delete_many({})

    assert await db.c.find().to_list() == []
    assert await db.c.find_one({"_id": 1}) is None
    assert await (await db.c.aggregate([{"$match": {"a": 1}}])).to_list() == []
