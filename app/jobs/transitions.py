"""Every state change as the one update that makes it: pure functions from a decision to a MongoDB update.

Each update changes the status, appends to the history and keeps the fields that belong to a status true: a queued job
has a next dispatch and no lease, a final one has a completion time and is marked for the roll-ups.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, assert_never

from app.jobs.history import new_entry
from app.jobs.lanes import lane_of, parking_lane
from app.jobs.models import JobError, Reason, Status
from app.jobs.outcomes import Cancelled, Deferred, Evaluated, Failed, Finished, Outcome, RetryAt, Suspended

MOST_APPENDED = 200
# Until a ring that is made with the write itself is thought lost.
FIRST_PAUSE = timedelta(seconds=2)
CANCELLED = JobError(type="CANCELLED", message="the job was cancelled on request")


@dataclass(slots=True)
class Evidence:
    """What an attempt learned, written together with its outcome whatever that is.

    ``label`` names who did the work, in the history; ``noted`` goes into the entry that ends the attempt, for good.
    """

    fields: dict[str, Any] = field(default_factory=dict)
    label: str | None = None
    appended: dict[str, list[Any]] = field(default_factory=dict)
    noted: dict[str, Any] = field(default_factory=dict)

    def append(self, name: str, value: Any) -> None:
        self.appended.setdefault(name, []).append(value)


Change = dict[str, Any]


def claimed(token: str, worker: str, now: datetime) -> Change:
    return {
        "$set": {
            "status": Status.PROCESSING.value,
            "lease": {"token": token, "worker": worker},
            "started_at": now,
            "updated_at": now,
            "next_dispatch_at": None,
            "lane": None,
        },
        "$inc": {"attempt": 1},
        "$push": {"history": new_entry(Status.PROCESSING, now, Reason.CLAIMED, worker=worker)},
    }


def settled(outcome: Outcome, evidence: Evidence, now: datetime) -> Change:
    """The update that ends an attempt: a final state, another try, or a wait without a worker."""
    match outcome:
        case Finished(fields=fields):
            change = _final(Status.COMPLETED, Reason.FINISHED, now, label=evidence.label, fields=fields)
        case Failed(error=error, reason=reason):
            change = _final(Status.FAILED, reason, now, error, label=evidence.label)
        case Cancelled():
            change = _final(Status.CANCELLED, Reason.CANCELLED, now, CANCELLED, label=evidence.label)
        case RetryAt():
            change = _queued_again(outcome, now)
        case Deferred():
            change = _deferred(outcome, now)
        case Evaluated():
            change = _evaluated(outcome, now)
        case Suspended():
            change = _suspended(outcome, now)
        case _:
            assert_never(outcome)
    return _with_evidence(change, evidence)


def woken(token: str, worker: str, now: datetime) -> Change:
    """A suspended job goes on at once, with whoever woke it."""
    change = claimed(token, worker, now)
    return {**change, "$set": {**change["$set"], "not_before": now, "resumed_at": now}}


def cancelled(now: datetime) -> Change:
    """For a job nobody holds."""
    return _final(Status.CANCELLED, Reason.CANCELLED, now, CANCELLED)


def retried(now: datetime, *, lane: str, reset: Mapping[str, Any], request: str, redispatch: timedelta) -> Change:
    """A failed or cancelled job begins a new series of attempts; its history is kept."""
    return {
        "$set": {
            **reset,
            **_ready(now, now, dispatches=1, next_dispatch_at=now + redispatch),
            "stage": None,
            "lane": lane,
            "alone": False,
            "dispatched_at": now,
            "queued_at": now,
            "resumed_at": None,
            "attempt": 0,
            "error": None,
            "cancel_requested_at": None,
            "deadline_at": None,
            "completed_at": None,
            "uncounted": True,
        },
        "$push": {"history": new_entry(Status.QUEUED, now, Reason.RETRIED, label=request)},
    }


def resumed(now: datetime, *, lane: str, fields: Mapping[str, Any], request: str, redispatch: timedelta) -> Change:
    """A suspended job goes on, in the series of attempts that it was in."""
    return {
        "$set": {
            **fields,
            **_ready(now, now, dispatches=1, next_dispatch_at=now + redispatch),
            "stage": None,
            "lane": lane,
            "dispatched_at": now,
            "resumed_at": now,
        },
        "$push": {"history": new_entry(Status.QUEUED, now, Reason.RESUMED, label=request)},
    }


def rung(now: datetime, next_dispatch_at: datetime, *, lane: str) -> Change:
    """Not a state change: somebody rings for a job that waits, which may start from now on."""
    return {
        "$set": {"dispatched_at": now, "next_dispatch_at": next_dispatch_at, "lane": lane},
        "$inc": {"dispatches": 1},
    }


def parked(permit: str, *, tenant_id: str) -> Change:
    """Not a state change: the job waits for a permit, and nobody need ring before there is one."""
    return {"$set": {"lane": parking_lane(permit, tenant_id), "next_dispatch_at": None}}


def with_newest_history(change: Change, limit: int | None) -> Change:
    """The same change, which keeps the newest ``limit`` entries of the history only; None keeps all."""
    if limit is None:
        return change
    pushed = change["$push"]
    return {**change, "$push": {**pushed, "history": {"$each": [pushed["history"]], "$slice": -limit}}}


def _final(
    status: Status,
    reason: Reason,
    now: datetime,
    error: JobError | None = None,
    *,
    label: str | None = None,
    fields: Mapping[str, Any] | None = None,
) -> Change:
    return {
        "$set": {
            **(fields or {}),
            "status": status.value,
            "error": _plain(error),
            "lease": None,
            "lane": None,
            "next_dispatch_at": None,
            "completed_at": now,
            "updated_at": now,
            "uncounted": True,
        },
        "$push": {"history": new_entry(status, now, reason, error, label=label)},
    }


def _queued_again(outcome: RetryAt, now: datetime) -> Change:
    change: Change = {
        "$set": {
            **_ready(now, outcome.at, dispatches=0, next_dispatch_at=outcome.at),
            "lane": None,
            "error": _plain(outcome.error),
        },
        "$push": {"history": new_entry(Status.QUEUED, now, outcome.reason, outcome.error)},
    }
    if not outcome.charged:
        change["$inc"] = {"attempt": -1}
    if outcome.charged or outcome.alone:
        # An attempt that was only put off, as at a drain, has cleared nobody of suspicion.
        change["$set"]["alone"] = outcome.alone
    return change


def _deferred(outcome: Deferred, now: datetime) -> Change:
    return {
        "$set": {
            **_ready(now, now, dispatches=0, next_dispatch_at=None),
            **parked(outcome.permit, tenant_id=outcome.tenant_id)["$set"],
        },
        "$inc": {"attempt": -1},
        "$push": {"history": new_entry(Status.QUEUED, now, Reason.DEFERRED)},
    }


def _evaluated(outcome: Evaluated, now: datetime) -> Change:
    return {
        "$set": {
            **_ready(now, now, dispatches=1, next_dispatch_at=now + FIRST_PAUSE),
            "stage": None,
            "lane": lane_of(outcome.tenant_id),
            "dispatched_at": now,
            "error": None,
        },
        "$inc": {"attempt": -1},
        "$push": {"history": new_entry(Status.QUEUED, now, Reason.EVALUATED)},
    }


def _suspended(outcome: Suspended, now: datetime) -> Change:
    return {
        "$set": {
            **outcome.fields,
            "status": outcome.status.value,
            "lease": None,
            "lane": None,
            "next_dispatch_at": None,
            "updated_at": now,
        },
        "$inc": {"attempt": -1},
        "$push": {"history": new_entry(outcome.status, now, Reason.SUSPENDED)},
    }


def _ready(
    now: datetime, not_before: datetime, *, dispatches: int, next_dispatch_at: datetime | None
) -> dict[str, Any]:
    return {
        "status": Status.QUEUED.value,
        "lease": None,
        "not_before": not_before,
        "dispatches": dispatches,
        "next_dispatch_at": next_dispatch_at,
        "updated_at": now,
    }


def _plain(error: JobError | None) -> dict[str, str] | None:
    return None if error is None else {"type": error.type, "message": error.message}


def _with_evidence(change: Change, evidence: Evidence) -> Change:
    # Bounded: a job that is retried by hand again and again must not outgrow its document.
    appended = {name: {"$each": values, "$slice": -MOST_APPENDED} for name, values in evidence.appended.items()}
    entry = change["$push"]["history"]
    if evidence.noted:
        entry = {**entry, "noted": evidence.noted}
    return {
        **change,
        "$set": {**evidence.fields, **change["$set"]},
        "$push": {"history": entry, **appended},
    }
