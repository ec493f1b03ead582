"""The durable job: what every document with a lifecycle has in common, as plain values."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any

from app.jobs.lanes import Stage, lane_of


class Status(StrEnum):
    QUEUED = "queued"
    PROCESSING = "processing"
    AWAITING_APPROVAL = "awaiting_approval"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def is_final(self) -> bool:
        return self in FINAL


DEFAULT_PRIORITY = 5
# The field of a job that only finds out what would be done: no list shows it, nothing counts it, and it expires soon.
DRY_RUN = "dry_run"
# The field of a job that nothing may delete; absent from all others.
LEGAL_HOLD = "legal_hold"
FINAL = frozenset({Status.COMPLETED, Status.FAILED, Status.CANCELLED})
OPEN = frozenset(Status) - FINAL


class Reason(StrEnum):
    """Why a job changed its status; kept in its history."""

    ACCEPTED = "accepted"
    CLAIMED = "claimed"
    FINISHED = "finished"
    FAILED = "failed"
    RETRY_SCHEDULED = "retry_scheduled"
    WORKER_LOST = "worker_lost"
    WORKER_DRAINING = "worker_draining"
    ISOLATED = "isolated"
    DEFERRED = "deferred"
    CIRCUIT_OPEN = "circuit_open"
    RATE_LIMITED = "rate_limited"
    BUDGET_BUSY = "budget_busy"
    EVALUATED = "evaluated"
    SUSPENDED = "suspended"
    RESUMED = "resumed"
    CANCELLED = "cancelled"
    DEADLINE_EXCEEDED = "deadline_exceeded"
    RETRIED = "retried"


@dataclass(frozen=True, slots=True)
class Lease:
    """Proof of ownership: the token is new for every claim and never reused."""

    token: str
    worker: str


@dataclass(frozen=True, slots=True)
class JobError:
    """Why a job failed: a stable type, and a message that names the thing."""

    type: str
    message: str


@dataclass(frozen=True, slots=True)
class HistoryEntry:
    """One state change. ``seq`` is its place in the append-only history, counted from 1.

    ``label`` says who did the work (an agent's name, for the roll-ups) or which request began the series; ``noted`` is
    what the attempt that it ends left there for whoever sums up histories; ``worker`` has claimed the job with it.
    """

    seq: int
    status: Status
    at: datetime
    attempt: int
    reason: Reason
    error: JobError | None = None
    label: str | None = None
    noted: Mapping[str, Any] = field(default_factory=dict)
    worker: str | None = None


@dataclass(frozen=True, slots=True)
class Job:
    """One job as the store holds it. ``document`` is the whole document, for the feature that owns it.

    ``alone`` marks one that its worker must not run beside another such: it is suspected of killing workers.
    """

    id: str
    tenant_id: str
    status: Status
    attempt: int
    max_attempts: int
    created_at: datetime
    not_before: datetime
    queued_at: datetime | None = None
    resumed_at: datetime | None = None
    deadline_at: datetime | None = None
    lease: Lease | None = None
    cancel_requested_at: datetime | None = None
    dispatches: int = 0
    dispatched_at: datetime | None = None
    priority: int = DEFAULT_PRIORITY
    alone: bool = False
    error: JobError | None = None
    trace_id: str | None = None
    stage: Stage | None = None
    document: Mapping[str, Any] = field(default_factory=dict, repr=False, compare=False)

    @property
    def lane(self) -> str:
        """Where it waits once it may start."""
        return lane_of(self.tenant_id, self.stage)


@dataclass(frozen=True, slots=True)
class NewJob:
    """What a feature hands to the kernel to have it done: identity, limits and its own fields.

    With a ``stage`` that part of the work is done first, in an attempt of its own.
    """

    id: str
    tenant_id: str
    fields: Mapping[str, Any]
    max_attempts: int
    deadline_at: datetime | None = None
    not_before: datetime | None = None
    priority: int = DEFAULT_PRIORITY
    trace_id: str | None = None
    stage: Stage | None = None
