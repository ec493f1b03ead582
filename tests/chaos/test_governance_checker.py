"""What is checked of decisions finds what it is there to find: each promise, broken by hand."""

import json
from typing import Any

import pytest

from tests.chaos.governance import Json, Vote, wrong_approval, wrong_end, wrong_order
from tests.chaos.history import Event

ID = "approval-1"
AT = 5.0


def approval(status: str = "approved", said: tuple[str, ...] = ("approved", "approved"), **fields: Any) -> Json:
    """Decided by the last of these."""
    history = [{"event": one, "detail": {"is_last": place == len(said)}} for place, one in enumerate(said, start=1)]
    return {
        "_id": ID,
        "status": status,
        "outcome": status,
        "terms": json.dumps({"quorum": 2}),
        "history": history,
        "decisions": [{"by": f"key-{place}", "decision": one} for place, one in enumerate(said)],
        **fields,
    }


def vote(by: str = "ann", *, sent_at: float = 1.0, code: int | None = 200, status: str | None = "pending") -> Vote:
    return Vote(ID, by, True, sent_at, code, status)


def task(status: str = "completed", error: str | None = None, **policy: Any) -> Json:
    noted = {"effect": "require_approval", "approval_id": ID, **policy}
    return {"_id": "t", "status": status, "error": error and {"type": error}, "attempt": 1, "policy": noted}


def start(attempt: int = 1) -> Event:
    return Event("start", "t", AT, AT, 1, attempt=attempt)


def test_what_was_decided_as_it_should_is_not_complained_about() -> None:
    votes = [vote("ann"), vote("bob", status="approved"), vote("cat", code=409, status=None)]

    assert list(wrong_approval(approval(), votes)) == []
    assert list(wrong_approval(approval("rejected", ("approved", "rejected")), [])) == []
    assert list(wrong_end(task(), {ID: approval()})) == []
    assert list(wrong_order(task(), {ID: approval()}, {ID: votes}, [start()])) == []


@pytest.mark.parametrize(
    ("broken", "votes"),
    [
        (approval("pending", ("approved",)), []),
        (approval(said=("approved",)), []),
        (approval(said=("approved", "rejected")), []),
        (approval("rejected"), []),
        (approval(history=2 * [{"event": "approved", "detail": {"is_last": True}}]), []),
        (approval(decisions=2 * [{"by": "ann", "decision": "approved"}]), []),
        (approval(), [vote(status="rejected")]),
        (approval(), [vote(code=500, status=None)]),
    ],
)
def test_an_approval_that_was_decided_wrongly_is_found(broken: Json, votes: list[Vote]) -> None:
    assert list(wrong_approval(broken, votes))


@pytest.mark.parametrize(
    ("ended", "outcome"),
    [
        (task("failed", "APPROVAL_REJECTED"), "approved"),
        (task(), "rejected"),
        (task(), "failed"),
        (task("queued"), "approved"),
        (task(effect="deny", approval_id=None), None),
    ],
)
def test_a_task_that_ended_otherwise_than_was_decided_is_found(ended: Json, outcome: str | None) -> None:
    assert list(wrong_end(ended, {ID: approval(outcome=outcome)}))


@pytest.mark.parametrize(
    ("ran", "outcome", "votes"),
    [
        ({**task(), "policy": None}, "approved", []),
        (task(), "rejected", [vote("ann"), vote("bob")]),
        (task(), "approved", [vote("ann")]),
        (task(), "approved", [vote("ann"), vote("ann")]),
        (task(), "approved", [vote("ann"), vote("bob", sent_at=AT + 1)]),
        (task("failed", "POLICY_DENIED", effect="deny", approval_id=None), "approved", []),
    ],
)
def test_what_ran_before_it_was_allowed_to_is_found(ran: Json, outcome: str, votes: list[Vote]) -> None:
    assert list(wrong_order(ran, {ID: approval(outcome, outcome=outcome)}, {ID: votes}, [start()]))
