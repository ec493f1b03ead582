"""Receipts of executions, made of documents as they are stored and checked as whoever downloaded one does."""

import copy
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.hash_chain import BEGINNING, chained, digest_of
from app.workflows.receipt import problems_of, receipt_of

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
EXECUTION = {
    "_id": "2dab9b6e-bb98-4e01-9bc4-abb0d10bd54b",
    "tenant_id": "acme",
    "status": "completed",
    "workflow": {"id": "w1", "name": "publish", "digest": "sha256:1"},
    "inputs": {"json": '{"text":"hello"}'},
    "outputs": {"json": '{"word":"hi"}'},
    "fault": None,
    "error": None,
    "series": 1,
    "forked_from": None,
    "log": [{"seq": 1, "at": NOON, "event": "started", "by": None, "detail": None}],
    "last_seq": 6,
    "created_at": NOON,
    "created_by": "key-1",
    "completed_at": NOON + timedelta(seconds=9),
}


def _step(path: str, seq: int, ended_seq: int | None, **fields: Any) -> dict[str, Any]:
    return {
        "path": path,
        "series": 1,
        "kind": "agent",
        "status": "completed",
        "seq": seq,
        "ended_seq": ended_seq,
        "input": {"json": "{}"},
        "output": {"sha256": "ab" * 32, "size": 70_000, "media_type": "application/json"},
        "end": "succeeded",
        "fault": None,
        "error": None,
        "attempts": [{"number": 1, "started_at": NOON, "cost": {"usd": 0.25, "tokens": 10, "seconds": 1.5}}],
        "votes": [],
        "reused_from": None,
        "artifacts": {},
        "created_at": NOON,
        "completed_at": NOON + timedelta(seconds=seq),
        **fields,
    }


VOTE = {"by": "key-2", "approved": True, "comment": "fine", "form": {}, "at": NOON}
STEPS = [
    _step("review", 2, 5, votes=[VOTE], kind="approval", attempts=[]),
    _step("write", 3, 4),
    _step("late", 6, None, end=None, status="cancelled", output=None),
]


def _receipt() -> Any:
    return json.loads(json.dumps(receipt_of(EXECUTION, STEPS)))


def test_a_receipt_says_what_ran_who_decided_and_what_it_cost() -> None:
    receipt = _receipt()

    assert receipt["cost"] == {
        "usd": 0.5, "prompt_tokens": 0, "completion_tokens": 0, "tokens": 20, "model_calls": 0, "unpriced_calls": 0,
        "seconds": 3.0,
    }  # fmt: skip
    assert receipt["approvals"] == [
        {"path": "review", "at": "2026-03-01T12:00:00.000Z", "approved": True, "by": "key-2", "comment": "fine"}
    ]
    assert [(step["path"], step["end"]) for step in receipt["steps"]] == [
        ("write", "succeeded"),
        ("review", "succeeded"),
        ("late", "cancelled"),
    ]
    assert problems_of(receipt) == ([], 9, 2)


def test_events_are_in_their_order_whatever_the_order_of_the_documents() -> None:
    log = _receipt()["events"]["log"]

    assert [(event["event"], event.get("path")) for event in log] == [
        ("execution.created", None),
        ("execution.started", None),
        ("step.started", "review"),
        ("step.started", "write"),
        ("step.ended", "write"),
        ("step.ended", "review"),
        ("step.started", "late"),
        ("step.ended", "late"),
        ("execution.ended", None),
    ]
    assert receipt_of(EXECUTION, reversed(STEPS)) == receipt_of(EXECUTION, STEPS)
    assert log[0]["previous"] == BEGINNING


@pytest.mark.parametrize(
    ("place", "value"),
    [
        (("status",), "failed"),
        (("cost", "usd"), 0.01),
        (("steps", 0, "output_sha256"), "cd" * 32),
        (("approvals", 0, "by"), "key-9"),
        (("inputs", "json"), '{"text":"other"}'),
        (("events", "log", 4, "end"), "failed"),
        (("events", "log", 3, "seq"), 9),
        (("events", "head"), "0" * 64),
        (("events", "log"), []),
        (("events",), None),
    ],
)
def test_whatever_is_changed_in_a_receipt_is_found(place: tuple[Any, ...], value: Any) -> None:
    receipt = _receipt()
    *inner, last = place
    where = receipt
    for name in inner:
        where = where[name]
    where[last] = value

    assert problems_of(receipt)[0]


def test_an_event_that_was_taken_out_is_missed_though_the_rest_is_told_anew() -> None:
    receipt = _receipt()
    del receipt["events"]["log"][4]

    assert problems_of(receipt)[0] == ["event 5 was changed, or the one before it is missing"]


def test_a_value_that_does_not_fit_its_digest_is_found_though_the_chain_was_made_again() -> None:
    receipt = _receipt()
    events = copy.deepcopy(receipt["events"]["log"])
    events[0]["inputs"]["json"] = "{}"
    plain = [{name: value for name, value in event.items() if name not in {"hash", "previous"}} for event in events]
    log = chained(plain)
    receipt["inputs"]["json"] = "{}"
    receipt["events"] = {"count": len(log), "head": log[-1]["hash"], "log": log}

    assert problems_of(receipt)[0] == ["a value was changed after it was kept"]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


@given(JSON, JSON)
def test_no_document_from_elsewhere_breaks_the_check(document: Any, log: Any) -> None:
    receipt = _receipt()
    receipt["events"]["log"] = log

    assert problems_of(document)[0]
    assert problems_of(receipt)[0]


def test_the_hash_of_an_event_can_be_made_by_anybody() -> None:
    assert digest_of({"seq": 1, "at": "now", "event": "x", "previous": BEGINNING, "hash": "of no account"}) == (
        "f222d934165c15be1058f3325b8867ab65e294960d19c935f4a82ba3403f5f9d"
    )
