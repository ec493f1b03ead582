"""Pipelines every store has to answer alike, over the six runs below."""

from datetime import UTC, datetime, timedelta
from typing import Any

Document = dict[str, Any]

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)

RUNS: list[Document] = [
    {
        "_id": number,
        "agent": "AB"[number % 2],
        "ms": number * 10,
        "status": "ok" if number % 3 else "bad",
        "at": NOON + timedelta(minutes=20 * number),
        "list": [number, number + 1],
        "nested": {"x": number % 2},
        **({"note": "n"} if number == 4 else {}),
    }
    for number in range(6)
]

BY_ID: Document = {"$sort": {"_id": 1}}

IS_BAD: Document = {"$eq": ["$status", "bad"]}

# A name, the pipeline, its result.
PIPELINES: list[tuple[str, list[Document], list[Document]]] = [
    (
        "group: sum, avg, max and min",
        [
            {
                "$group": {
                    "_id": "$agent",
                    "n": {"$sum": 1},
                    "sum": {"$sum": "$ms"},
                    "avg": {"$avg": "$ms"},
                    "max": {"$max": "$ms"},
                    "min": {"$min": "$ms"},
                }
            },
            BY_ID,
        ],
        [
            {"_id": "A", "n": 3, "sum": 60, "avg": 20.0, "max": 40, "min": 0},
            {"_id": "B", "n": 3, "sum": 90, "avg": 30.0, "max": 50, "min": 10},
        ],
    ),
    (
        "group: a condition",
        [{"$group": {"_id": "$agent", "bad": {"$sum": {"$cond": [IS_BAD, 1, 0]}}}}, BY_ID],
        [{"_id": "A", "bad": 1}, {"_id": "B", "bad": 1}],
    ),
    (
        "group: a condition spelled out",
        [{"$group": {"_id": None, "bad": {"$sum": {"$cond": {"if": IS_BAD, "then": 1, "else": 0}}}}}],
        [{"_id": None, "bad": 2}],
    ),
    (
        "group by two fields",
        [
            {"$group": {"_id": {"a": "$agent", "s": "$status"}, "n": {"$sum": 1}}},
            {"$sort": {"_id.a": 1, "_id.s": 1}},
        ],
        [
            {"_id": {"a": "A", "s": "bad"}, "n": 1},
            {"_id": {"a": "A", "s": "ok"}, "n": 2},
            {"_id": {"a": "B", "s": "bad"}, "n": 1},
            {"_id": {"a": "B", "s": "ok"}, "n": 2},
        ],
    ),
    (
        "group by a nested field",
        [{"$group": {"_id": "$nested.x", "n": {"$sum": 1}}}, BY_ID],
        [{"_id": 0, "n": 3}, {"_id": 1, "n": 3}],
    ),
    (
        "group: the latest time",
        [{"$group": {"_id": "$agent", "at": {"$max": "$at"}}}, BY_ID],
        [{"_id": "A", "at": NOON + timedelta(minutes=80)}, {"_id": "B", "at": NOON + timedelta(minutes=100)}],
    ),
    ("group by a time", [{"$match": {"_id": 1}}, {"$group": {"_id": "$at"}}], [{"_id": NOON + timedelta(minutes=20)}]),
    (
        "group: push in order",
        [BY_ID, {"$group": {"_id": None, "all": {"$push": "$ms"}}}],
        [{"_id": None, "all": [0, 10, 20, 30, 40, 50]}],
    ),
    (
        "group: push documents",
        [BY_ID, {"$limit": 1}, {"$group": {"_id": None, "all": {"$push": {"id": "$_id", "at": "$at"}}}}],
        [{"_id": None, "all": [{"id": 0, "at": NOON}]}],
    ),
    (
        "group: missing fields add nothing",
        [{"$group": {"_id": None, "sum": {"$sum": "$none"}, "avg": {"$avg": "$none"}, "all": {"$push": "$note"}}}],
        [{"_id": None, "sum": 0, "avg": None, "all": ["n"]}],
    ),
    ("group of nothing", [{"$match": {"agent": "Z"}}, {"$group": {"_id": None, "n": {"$sum": 1}}}], []),
    (
        "match by time, then group",
        [{"$match": {"at": {"$gte": NOON + timedelta(minutes=60)}}}, {"$group": {"_id": None, "n": {"$sum": 1}}}],
        [{"_id": None, "n": 3}],
    ),
    (
        "match after group",
        [{"$group": {"_id": "$status", "n": {"$sum": 1}}}, {"$match": {"n": {"$gt": 2}}}],
        [{"_id": "ok", "n": 4}],
    ),
    ("count", [{"$match": {"status": "ok"}}, {"$count": "n"}], [{"n": 4}]),
    ("count of nothing", [{"$match": {"status": "none"}}, {"$count": "n"}], []),
    (
        "sort, skip and limit",
        [{"$sort": {"ms": -1}}, {"$skip": 1}, {"$limit": 2}, {"$project": {"ms": 1}}],
        [{"_id": 4, "ms": 40}, {"_id": 3, "ms": 30}],
    ),
    (
        "limit before skip",
        [BY_ID, {"$limit": 3}, {"$skip": 1}, {"$project": {"_id": 1}}],
        [{"_id": 1}, {"_id": 2}],
    ),
    ("project: kept fields", [{"$match": {"_id": 1}}, {"$project": {"_id": 0, "ms": 1}}], [{"ms": 10}]),
    (
        "project: a renamed field keeps its type",
        [{"$match": {"_id": 0}}, {"$project": {"_id": 0, "when": "$at"}}],
        [{"when": NOON}],
    ),
    (
        "project: a condition",
        [{"$match": {"_id": 0}}, {"$project": {"_id": 0, "bad": {"$cond": [IS_BAD, "yes", "no"]}}}],
        [{"bad": "yes"}],
    ),
    (
        "bucket",
        [{"$bucket": {"groupBy": "$ms", "boundaries": [0, 20, 40], "default": "x", "output": {"n": {"$sum": 1}}}}],
        [{"_id": 0, "n": 2}, {"_id": 20, "n": 2}, {"_id": "x", "n": 2}],
    ),
    (
        "unwind",
        [
            {"$match": {"_id": {"$in": [0, 1]}}},
            {"$unwind": "$list"},
            {"$group": {"_id": "$list", "n": {"$sum": 1}}},
            BY_ID,
        ],
        [{"_id": 0, "n": 1}, {"_id": 1, "n": 2}, {"_id": 2, "n": 1}],
    ),
]
