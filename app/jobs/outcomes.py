"""What a handler may answer, and what that means for the job: pure values, no I/O."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any, assert_never

from app.jobs.models import JobError, Reason, Status


@dataclass(frozen=True, slots=True)
class Finished:
    """The work is done; ``fields`` are set on the document in the same write as the final status."""

    fields: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class RetryAt:
    """Another attempt can help, not before ``at``. ``charged`` is False when the attempt was not the job's fault.

    ``alone`` keeps the next one away from other suspects of killing their worker.
    """

    at: datetime
    error: JobError | None = None
    reason: Reason = Reason.RETRY_SCHEDULED
    charged: bool = True
    alone: bool = False


@dataclass(frozen=True, slots=True)
class Failed:
    """No further attempt can help, or none is left."""

    error: JobError
    reason: Reason = Reason.FAILED


@dataclass(frozen=True, slots=True)
class Deferred:
    """The job may not go on before ``permit`` can be had; the attempt is not charged, and no worker is held."""

    permit: str
    tenant_id: str


@dataclass(frozen=True, slots=True)
class Evaluated:
    """The stage before the work is done: the work itself may begin at once, wherever it is waited for."""

    tenant_id: str


@dataclass(frozen=True, slots=True)
class Suspended:
    """The job waits for somebody or something; it holds no worker meanwhile."""

    status: Status = Status.AWAITING_APPROVAL
    fields: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Cancelled:
    """The work was stopped because somebody asked for it."""


Outcome = Finished | RetryAt | Failed | Deferred | Evaluated | Suspended | Cancelled


class Stop(StrEnum):
    """Why a running attempt is told to stop."""

    CANCEL_REQUESTED = "cancel_requested"
    DRAINING = "draining"
    LEASE_LOST = "lease_lost"


def outcome_of_stop(why: Stop, *, now: datetime) -> Outcome | None:
    """What a stopped attempt means for its job; None when nothing may be written."""
    match why:
        case Stop.CANCEL_REQUESTED:
            return Cancelled()
        case Stop.DRAINING:
            return RetryAt(now, reason=Reason.WORKER_DRAINING, charged=False)
        case Stop.LEASE_LOST:
            return None
        case _:
            assert_never(why)


def final_status(outcome: Outcome) -> Status | None:
    """The final status an outcome leads to, None when the job goes on."""
    match outcome:
        case Finished():
            return Status.COMPLETED
        case Failed():
            return Status.FAILED
        case Cancelled():
            return Status.CANCELLED
        case _:
            return None
