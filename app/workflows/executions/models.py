"""An execution of a stored workflow and its step instances, as they are stored and as they are shown.

Both are jobs of the kernel. An execution's job is to be driven: somebody tells the planner how steps ended and hands
out what may start. While there is nothing to tell, the job is suspended and holds no worker.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID, uuid5

from app.errors import Conflict, ExecutionError, NotFound
from app.jobs.models import Job, Status

EXECUTIONS = "executions"
STEPS = "steps"
SIGNALS = "workflow_signals"
# Documents that a new series of attempts does not take over.
FIRST_SERIES = 1


class ExecutionNotFound(NotFound):
    code = "EXECUTION_NOT_FOUND"
    title = "Execution not found"


class StepNotFound(NotFound):
    code = "STEP_NOT_FOUND"
    title = "Step not found"


class ExecutionFinished(Conflict):
    code = "EXECUTION_ALREADY_FINISHED"
    title = "Execution already finished"


class ExecutionNotRetryable(Conflict):
    code = "EXECUTION_NOT_RETRYABLE"
    title = "Execution not retryable"


class StepNotWaiting(Conflict):
    code = "STEP_NOT_WAITING"
    title = "Step does not wait for this"


class ForkOriginGone(ExecutionError):
    code = "FORK_ORIGIN_GONE"
    title = "The execution that was forked is gone"


class ExecutionStatus(StrEnum):
    """What a client sees. ``waiting``: for a time or an event, and nothing else runs."""

    QUEUED = "queued"
    PROCESSING = "processing"
    WAITING = "waiting"
    AWAITING_APPROVAL = "awaiting_approval"
    PAUSED = "paused"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"


class Waits(StrEnum):
    """What a step may wait for without a worker."""

    APPROVAL = "approval"
    EVENT = "event"
    TIME = "time"


@dataclass(frozen=True, slots=True)
class WorkflowRef:
    """The version that an execution is pinned to."""

    id: str
    name: str
    digest: str


@dataclass(frozen=True, slots=True)
class Fork:
    """Where an execution took finished steps from; ``step`` is the first that it carries out itself."""

    execution_id: str
    step: str


@dataclass(frozen=True, slots=True)
class Request:
    """An execution as a client asks for it, already checked against the workflow's inputs."""

    workflow: WorkflowRef
    inputs: Mapping[str, Any]
    metadata: Mapping[str, Any] = field(default_factory=dict)
    forked_from: Fork | None = None


def step_id(execution_id: str, series: int, path: str) -> str:
    """The same for the same instance, so that handing one out twice finds it there."""
    return str(uuid5(UUID(execution_id), f"{series}:{path}"))


def status_of(execution: Job) -> ExecutionStatus:
    """As clients see it: suspended for want of something to do is no state of theirs."""
    document = execution.document
    if execution.status.is_final:
        return ExecutionStatus(execution.status.value)
    if document.get("paused_at"):
        return ExecutionStatus.PAUSED
    if execution.status is Status.PROCESSING:
        return ExecutionStatus.PROCESSING
    if not document.get("begun_at"):
        return ExecutionStatus.QUEUED
    if execution.status is Status.AWAITING_APPROVAL and (waits := document.get("idle_for")):
        return ExecutionStatus(waits)
    return ExecutionStatus.PROCESSING


def seconds_between(start: datetime | None, end: datetime | None) -> float | None:
    return None if start is None or end is None else (end - start).total_seconds()
