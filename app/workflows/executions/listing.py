"""Which executions and which steps a list shows, as conditions of the store. Pure."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from app.ids import is_id
from app.jobs.models import OPEN, Status
from app.jobs.store import WAITING
from app.workflows.executions.models import ExecutionStatus, Waits

_OPEN = {"$in": [status.value for status in OPEN]}
_SUSPENDED = Status.AWAITING_APPROVAL.value
_PROCESSING = Status.PROCESSING.value


class StepStatus(StrEnum):
    """What a client sees of a step: where it is, or how it ended."""

    QUEUED = "queued"
    PROCESSING = "processing"
    WAITING = "waiting"
    AWAITING_APPROVAL = "awaiting_approval"
    SUCCEEDED = "succeeded"
    SKIPPED = "skipped"
    EXHAUSTED = "exhausted"
    TOLERATED = "tolerated"
    FAILED = "failed"
    CANCELLED = "cancelled"
    BLOCKED = "blocked"


_ENDS_OF_KERNEL = {
    StepStatus.SUCCEEDED: Status.COMPLETED.value,
    StepStatus.FAILED: Status.FAILED.value,
    StepStatus.CANCELLED: Status.CANCELLED.value,
}


@dataclass(frozen=True, slots=True)
class ExecutionQuery:
    """Everything is optional and combines with and. ``workflow`` is an id or a name."""

    status: ExecutionStatus | None = None
    workflow: str | None = None
    created_after: datetime | None = None
    created_before: datetime | None = None


@dataclass(frozen=True, slots=True)
class StepQuery:
    """``path`` is what the paths of the steps begin with."""

    status: StepStatus | None = None
    path: str | None = None


def where_execution(query: ExecutionQuery) -> dict[str, Any]:
    where: dict[str, Any] = {} if query.status is None else dict(_in_status(query.status))
    if query.workflow is not None:
        where["workflow.id" if is_id(query.workflow) else "workflow.name"] = query.workflow
    bounds = {"$gte": query.created_after, "$lt": query.created_before}
    if created := {operator: bound for operator, bound in bounds.items() if bound is not None}:
        where["created_at"] = created
    return where


def _in_status(status: ExecutionStatus) -> Mapping[str, Any]:
    """What `status_of` says, as a condition."""
    match status:
        case ExecutionStatus.QUEUED:
            return {"status": {"$in": WAITING}, "paused_at": None, "begun_at": None}
        case ExecutionStatus.PAUSED:
            return {"status": _OPEN, "paused_at": {"$ne": None}}
        case ExecutionStatus.WAITING | ExecutionStatus.AWAITING_APPROVAL:
            return {"status": _SUSPENDED, "paused_at": None, "begun_at": {"$ne": None}, "idle_for": status.value}
        case ExecutionStatus.PROCESSING:
            begun = {"status": {"$in": WAITING}, "begun_at": {"$ne": None}}
            busy = {**begun, "$or": [{"status": {"$ne": _SUSPENDED}}, {"idle_for": None}]}
            return {"paused_at": None, "$or": [{"status": _PROCESSING}, busy]}
        case final:
            return {"status": final.value}


def where_step(query: StepQuery) -> dict[str, Any]:
    where = {} if query.status is None else dict(_step_in_status(query.status))
    if query.path:
        where["path"] = {"$regex": f"^{re.escape(query.path)}"}
    return where


def _step_in_status(status: StepStatus) -> Mapping[str, Any]:
    match status:
        case StepStatus.QUEUED:
            return {"end": None, "status": Status.QUEUED.value, "waits_for": None}
        case StepStatus.PROCESSING:
            return {"end": None, "status": Status.PROCESSING.value}
        case StepStatus.AWAITING_APPROVAL:
            return {"end": None, "status": {"$in": WAITING}, "waits_for.what": Waits.APPROVAL.value}
        case StepStatus.WAITING:
            unattended = [Waits.EVENT.value, Waits.TIME.value]
            return {"end": None, "status": {"$in": WAITING}, "waits_for.what": {"$in": unattended}}
        case end:
            # What the kernel ended has a status only until its driver has heard of it.
            by_kernel = _ENDS_OF_KERNEL.get(end)
            unheard = {"end": None, "status": by_kernel}
            return {"$or": [{"end": end.value}, unheard]} if by_kernel else {"end": end.value}


def status_of_step(step: Mapping[str, Any]) -> StepStatus:
    if end := step.get("end"):
        return StepStatus(end)
    status, waits_for = Status(step["status"]), step.get("waits_for")
    if status.is_final:
        return StepStatus.SUCCEEDED if status is Status.COMPLETED else StepStatus(status.value)
    if status.value not in WAITING or not waits_for:
        return StepStatus(status.value)
    return StepStatus.AWAITING_APPROVAL if waits_for["what"] == Waits.APPROVAL else StepStatus.WAITING
