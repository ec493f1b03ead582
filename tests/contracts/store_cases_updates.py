"""Updates every store has to apply alike: a document, an update, the document after it."""

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

Document = dict[str, Any]

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
TOMORROW = NOON + timedelta(days=1)
YESTERDAY = NOON - timedelta(days=1)


@dataclass(frozen=True)
class UpdateCase:
    """``before`` and ``after`` are without ``_id``, which is 1; ``search`` narrows the filter further."""

    name: str
    before: Document
    update: Document
    after: Document
    search: Document = field(default_factory=dict)


UPDATES = [
    UpdateCase("set a string", {"a": 1}, {"$set": {"b": "x"}}, {"a": 1, "b": "x"}),
    UpdateCase("set a boolean", {"a": 1}, {"$set": {"b": True}}, {"a": 1, "b": True}),
    UpdateCase("set a time", {"a": 1}, {"$set": {"b": NOON}}, {"a": 1, "b": NOON}),
    UpdateCase("set null", {"a": 1}, {"$set": {"b": None}}, {"a": 1, "b": None}),
    UpdateCase("set a document", {}, {"$set": {"b": {"x": 1, "t": NOON}}}, {"b": {"x": 1, "t": NOON}}),
    UpdateCase("set an array", {}, {"$set": {"b": [1, {"x": NOON}]}}, {"b": [1, {"x": NOON}]}),
    UpdateCase("set over an array", {"b": [1, 2]}, {"$set": {"b": 3}}, {"b": 3}),
    UpdateCase("set inside a document", {"a": {"b": 1}}, {"$set": {"a.b": 2, "a.c": 3}}, {"a": {"b": 2, "c": 3}}),
    UpdateCase("set creates parents", {}, {"$set": {"p.q.r": 2}}, {"p": {"q": {"r": 2}}}),
    UpdateCase("set a time inside a document", {"a": {}}, {"$set": {"a.b": NOON}}, {"a": {"b": NOON}}),
    UpdateCase("set an array element", {"l": [1, 2, 3]}, {"$set": {"l.1": 9}}, {"l": [1, 9, 3]}),
    UpdateCase("set a numeric key of a document", {"m": {}}, {"$set": {"m.0": "a"}}, {"m": {"0": "a"}}),
    UpdateCase(
        "set keys with dashes and spaces",
        {"m": {}},
        {"$set": {"m.step-1.status": "ok", "m.x y.z": 1}},
        {"m": {"step-1": {"status": "ok"}, "x y": {"z": 1}}},
    ),
    UpdateCase("set keeps integers and floats apart", {}, {"$set": {"a": 3, "b": 3.0}}, {"a": 3, "b": 3.0}),
    UpdateCase("inc", {"n": 1}, {"$inc": {"n": 2, "m": 1}}, {"n": 3, "m": 1}),
    UpdateCase("inc inside a document", {"a": {"n": 1}}, {"$inc": {"a.n": 2, "a.m": 1}}, {"a": {"n": 3, "m": 1}}),
    UpdateCase("inc creates parents", {}, {"$inc": {"a.n": 2}}, {"a": {"n": 2}}),
    UpdateCase("inc a float", {"n": 0.5}, {"$inc": {"n": 0.25}}, {"n": 0.75}),
    UpdateCase("inc by a negative number", {"n": 5}, {"$inc": {"n": -2}}, {"n": 3}),
    UpdateCase("inc beyond 32 bits", {"n": 2**31 - 1}, {"$inc": {"n": 1}}, {"n": 2**31}),
    UpdateCase("unset", {"a": 1, "b": 2}, {"$unset": {"b": ""}}, {"a": 1}),
    UpdateCase("unset inside a document", {"a": {"x": 1, "y": 2}}, {"$unset": {"a.x": ""}}, {"a": {"y": 2}}),
    UpdateCase("unset what is not there", {"a": 1}, {"$unset": {"z": "", "y.z": ""}}, {"a": 1}),
    UpdateCase("push", {"l": [1]}, {"$push": {"l": 2}}, {"l": [1, 2]}),
    UpdateCase("push a document", {"l": []}, {"$push": {"l": {"t": NOON}}}, {"l": [{"t": NOON}]}),
    UpdateCase("push to a new field", {}, {"$push": {"l": {"x": 1}}}, {"l": [{"x": 1}]}),
    UpdateCase("push inside a document", {"a": {"l": [1]}}, {"$push": {"a.l": 2}}, {"a": {"l": [1, 2]}}),
    UpdateCase("push an array as one element", {"l": [1]}, {"$push": {"l": [2, 3]}}, {"l": [1, [2, 3]]}),
    UpdateCase("push each", {"l": [1]}, {"$push": {"l": {"$each": [2, 3]}}}, {"l": [1, 2, 3]}),
    UpdateCase(
        "push each and keep the last three",
        {"l": [1, 2, 3]},
        {"$push": {"l": {"$each": [4, 5], "$slice": -3}}},
        {"l": [3, 4, 5]},
    ),
    UpdateCase("push each, sorted", {"l": [3]}, {"$push": {"l": {"$each": [1, 2], "$sort": 1}}}, {"l": [1, 2, 3]}),
    UpdateCase("push in front", {"l": [1, 2]}, {"$push": {"l": {"$each": [0], "$position": 0}}}, {"l": [0, 1, 2]}),
    UpdateCase("pull a value", {"l": [1, 2, 1]}, {"$pull": {"l": 1}}, {"l": [2]}),
    UpdateCase(
        "pull by a field", {"l": [{"id": 1, "z": 1}, {"id": 2}]}, {"$pull": {"l": {"id": 1}}}, {"l": [{"id": 2}]}
    ),
    UpdateCase("pull any of", {"l": [1, 2, 3]}, {"$pull": {"l": {"$in": [1, 3]}}}, {"l": [2]}),
    UpdateCase("pull inside a document", {"a": {"l": [1, 2]}}, {"$pull": {"a.l": 1}}, {"a": {"l": [2]}}),
    UpdateCase("pull from nothing", {"a": 1}, {"$pull": {"l": 1}}, {"a": 1}),
    UpdateCase("add to set what is there", {"l": [1]}, {"$addToSet": {"l": 1}}, {"l": [1]}),
    UpdateCase("add to set what is new", {"l": [1]}, {"$addToSet": {"l": 2}}, {"l": [1, 2]}),
    UpdateCase("add to a new set", {}, {"$addToSet": {"l": 2}}, {"l": [2]}),
    UpdateCase("add to set a document", {"l": [{"a": 1}]}, {"$addToSet": {"l": {"a": 1}}}, {"l": [{"a": 1}]}),
    UpdateCase("add to set each", {"l": [1]}, {"$addToSet": {"l": {"$each": [1, 2, 3]}}}, {"l": [1, 2, 3]}),
    UpdateCase("min and max", {"a": 5, "b": 5}, {"$min": {"a": 3}, "$max": {"b": 9}}, {"a": 3, "b": 9}),
    UpdateCase("min and max that lose", {"a": 5, "b": 5}, {"$min": {"a": 7}, "$max": {"b": 2}}, {"a": 5, "b": 5}),
    UpdateCase("max of a later time", {"a": NOON}, {"$max": {"a": TOMORROW}}, {"a": TOMORROW}),
    UpdateCase("max of an earlier time", {"a": NOON}, {"$max": {"a": YESTERDAY}}, {"a": NOON}),
    UpdateCase("max of a new field", {}, {"$max": {"a": 3}}, {"a": 3}),
    UpdateCase("set on insert of a document that is there", {"a": 1}, {"$setOnInsert": {"b": 1}}, {"a": 1}),
    UpdateCase("an update without effect", {"a": 1}, {"$set": {"a": 1}}, {"a": 1}),
    UpdateCase("an update of something else", {"a": 1}, {"$set": {"a": 2}}, {"a": 1}, search={"a": 7}),
    UpdateCase(
        "several operators",
        {"v": 1, "st": "queued", "events": []},
        {
            "$set": {"st": "running", "at": NOON},
            "$inc": {"v": 1},
            "$push": {"events": {"k": "x", "at": NOON}},
            "$unset": {"z": ""},
        },
        {"v": 2, "st": "running", "at": NOON, "events": [{"k": "x", "at": NOON}]},
    ),
    UpdateCase(
        "a fenced write",
        {"status": "processing", "lease": {"token": "t1", "worker": "w1"}, "history": [{"seq": 1}]},
        {"$set": {"status": "completed"}, "$unset": {"lease": ""}, "$push": {"history": {"seq": 2}}},
        {"status": "completed", "history": [{"seq": 1}, {"seq": 2}]},
        search={"status": "processing", "lease.token": "t1"},
    ),
]

# Updates that every store refuses, of {"_id": 1, "a": "x", "l": 1}.
REFUSED_UPDATES = [
    ("two operators on one path", {"$set": {"b": 1}, "$inc": {"b": 1}}),
    ("an operator above another", {"$set": {"b": {}}, "$inc": {"b.c": 1}}),
    ("inc of a string", {"$inc": {"a": 1}}),
    ("push to a number", {"$push": {"l": 1}}),
    ("another _id", {"$set": {"_id": 2}}),
]
