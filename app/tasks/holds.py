"""A task that waits for somebody: what for, and what lets it go on. Pure."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from app.errors import Conflict
from app.jobs.models import Status
from app.jobs.outcomes import Suspended

HOLD = "hold"


class HoldKind(StrEnum):
    """What a task waits for."""

    APPROVAL = "approval"
    BUDGET = "budget"
    CLARIFICATION = "clarification"
    REVIEW = "review"


class TaskNotWaiting(Conflict):
    code = "TASK_NOT_WAITING"
    title = "Task does not wait for this"


@dataclass(frozen=True, slots=True)
class Answer:
    """What somebody says to a task that waits.

    ``fields`` turns the task into what is to be set on it, and raises `Invalid` when the answer does not fit. ``body``
    is the answer as plain data, alike for alike answers.
    """

    kind: HoldKind
    body: Any
    fields: Callable[[Mapping[str, Any]], Mapping[str, Any]]


def held(kind: HoldKind, message: str, *, since: datetime, facts: Mapping[str, Any]) -> Suspended:
    """The task waits, without a worker; what it did so far is kept. ``message`` is a sentence without its full stop."""
    return Suspended(fields={HOLD: {"kind": kind.value, "message": message, "since": since, "facts": dict(facts)}})


def find_hold(task: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """What the task waits for; None when it waits for nobody."""
    hold: Mapping[str, Any] | None = task.get(HOLD)
    return hold if task["status"] == Status.AWAITING_APPROVAL else None


def get_hold(task: Mapping[str, Any], kind: HoldKind) -> Mapping[str, Any]:
    """Raises `TaskNotWaiting` when the task waits for nobody, or for something else."""
    hold = find_hold(task)
    if hold is None:
        raise TaskNotWaiting(f"task {task['_id']} is {task['status']} and waits for nobody", status=task["status"])
    if hold["kind"] != kind:
        raise TaskNotWaiting(f"task {task['_id']} waits for {hold['kind']}, not for {kind}", status=task["status"])
    return hold


def fields_to_go_on(task: Mapping[str, Any], answer: Answer) -> dict[str, Any]:
    """What is to be set on the task; raises `TaskNotWaiting`, or `Invalid`."""
    get_hold(task, answer.kind)
    return {**answer.fields(task), HOLD: None}
