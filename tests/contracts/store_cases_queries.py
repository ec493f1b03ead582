"""Filters every store has to read alike: which of the documents below they find."""

from datetime import UTC, datetime, timedelta, timezone
from typing import Any

Document = dict[str, Any]

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
ONE = NOON + timedelta(hours=1)
TWO = NOON + timedelta(hours=2)
NOON_IN_TOKYO = NOON.astimezone(timezone(timedelta(hours=9)))

DOCUMENTS: list[Document] = [
    {
        "_id": 1,
        "n": 1,
        "s": "alpha",
        "t": NOON,
        "tags": ["x", "y"],
        "o": {"k": "a", "n": 1},
        "items": [{"p": 1, "q": "a"}, {"p": 5, "q": "b"}],
    },
    {"_id": 2, "n": 2.5, "s": "Beta", "t": ONE, "tags": ["y"], "o": {"k": "b", "n": 2}, "items": []},
    {"_id": 3, "n": None, "s": "gamma", "t": TWO, "tags": [], "o": {"k": "a"}},
    {"_id": 4, "s": "alpha2", "t": None, "b": True},
    {"_id": 5, "n": "7", "b": False, "s": ""},
]

# Every query is asked without any index and with all of these.
INDEXED_PATHS = ["n", "s", "t", "tags", "o.k", "o.n", "items.p", "b"]

QUERIES: list[tuple[Document, list[int]]] = [
    ({}, [1, 2, 3, 4, 5]),
    ({"_id": 3}, [3]),
    ({"_id": 3, "s": "gamma"}, [3]),
    ({"_id": 3, "s": "alpha"}, []),
    ({"_id": {"$in": [5, 1, 9]}}, [1, 5]),
    ({"_id": {"$gt": 3}}, [4, 5]),
    ({"_id": {"$gte": 2, "$lt": 4}}, [2, 3]),
    ({"s": "alpha"}, [1]),
    ({"s": {"$eq": "alpha"}}, [1]),
    ({"n": None}, [3, 4]),
    ({"n": {"$ne": None}}, [1, 2, 5]),
    ({"n": {"$gt": 0}}, [1, 2]),
    ({"n": {"$gt": 0, "$lt": 2}}, [1]),
    ({"n": 2.5}, [2]),
    ({"n": 1.0}, [1]),
    ({"t": {"$gte": NOON, "$lt": TWO}}, [1, 2]),
    ({"t": {"$lte": ONE}}, [1, 2]),
    ({"t": {"$gt": NOON}}, [2, 3]),
    ({"t": NOON}, [1]),
    ({"t": NOON_IN_TOKYO}, [1]),
    ({"t": {"$gte": NOON.replace(tzinfo=None)}}, [1, 2, 3]),
    ({"t": {"$in": [NOON, None]}}, [1, 4, 5]),
    ({"t": {"$ne": NOON}}, [2, 3, 4, 5]),
    ({"b": True}, [4]),
    ({"b": False}, [5]),
    ({"b": {"$ne": True}}, [1, 2, 3, 5]),
    ({"s": {"$in": ["alpha", "gamma"]}}, [1, 3]),
    ({"n": {"$in": [None, 1]}}, [1, 3, 4]),
    ({"s": {"$nin": ["alpha", "gamma"]}}, [2, 4, 5]),
    ({"s": {"$in": []}}, []),
    ({"tags": "y"}, [1, 2]),
    ({"tags": ["y"]}, [2]),
    ({"tags": {"$all": ["x", "y"]}}, [1]),
    ({"tags": {"$in": ["x"]}}, [1]),
    ({"tags": {"$nin": ["x"]}}, [2, 3, 4, 5]),
    ({"tags": {"$size": 0}}, [3]),
    ({"tags": {"$ne": "x"}}, [2, 3, 4, 5]),
    ({"o.k": "a"}, [1, 3]),
    ({"o.k": "a", "s": "gamma"}, [3]),
    ({"o.n": {"$gte": 2}}, [2]),
    ({"o.n": {"$exists": True}}, [1, 2]),
    ({"o": {"k": "a"}}, [3]),
    ({"items.p": 5}, [1]),
    ({"items.p": {"$gt": 3}}, [1]),
    ({"items.0.p": 1}, [1]),
    ({"items": {"$elemMatch": {"p": {"$gt": 3}, "q": "b"}}}, [1]),
    ({"items": {"$elemMatch": {"p": 1, "q": "b"}}}, []),
    ({"n": {"$exists": True}}, [1, 2, 3, 5]),
    ({"n": {"$exists": False}}, [4]),
    ({"$or": [{"s": "gamma"}, {"b": True}]}, [3, 4]),
    ({"$and": [{"s": "alpha"}, {"n": 1}]}, [1]),
    ({"$nor": [{"s": "gamma"}, {"b": True}]}, [1, 2, 5]),
    ({"s": "alpha", "$or": [{"n": 1}, {"n": 2}]}, [1]),
    ({"n": {"$not": {"$gt": 1}}}, [1, 3, 4, 5]),
    ({"s": {"$regex": "^alpha"}}, [1, 4]),
    ({"s": {"$regex": "^beta$", "$options": "i"}}, [2]),
    ({"n": {"$type": "string"}}, [5]),
    ({"t": {"$type": "date"}}, [1, 2, 3]),
    ({"$or": [{"t": {"$lt": ONE}}, {"t": ONE, "_id": {"$gt": 1}}]}, [1, 2]),
    ({"$or": [{"t": None}, {"t": {"$lte": NOON}}]}, [1, 4, 5]),
]

REFUSED_QUERIES: list[Document] = [
    {"a": {"$bogus": 1}},
    {"$bogus": [{"a": 1}]},
    {"$or": []},
    {"a": {"$in": 1}},
]

# Sort, and the ids in that order.
SORTS: list[tuple[list[tuple[str, int]], list[int]]] = [
    ([("t", 1), ("_id", 1)], [4, 5, 1, 2, 3]),
    ([("t", -1), ("_id", -1)], [3, 2, 1, 5, 4]),
    ([("s", 1)], [5, 2, 1, 4, 3]),
    ([("_id", -1)], [5, 4, 3, 2, 1]),
    ([("o.k", 1), ("_id", -1)], [5, 4, 3, 1, 2]),
    ([("b", -1), ("s", 1)], [4, 5, 2, 1, 3]),
]

# Projection, and document 1 as it comes back.
PROJECTIONS: list[tuple[Any, Document]] = [
    ({"s": 1}, {"_id": 1, "s": "alpha"}),
    (["s", "n"], {"_id": 1, "s": "alpha", "n": 1}),
    ({"_id": 0, "o.k": 1}, {"o": {"k": "a"}}),
    ({"_id": 0, "items": 0, "tags": 0, "o.k": 0}, {"n": 1, "s": "alpha", "t": NOON, "o": {"n": 1}}),
    ({"_id": 0, "items.q": 1}, {"items": [{"q": "a"}, {"q": "b"}]}),
    ({"_id": 1}, {"_id": 1}),
]
