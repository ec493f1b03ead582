"""What a handler may answer, and what that means for the job: pure values, no I/O."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from app.jobs.models import JobError, Reason, Status


@dataclass(frozen=True, slots=True)
class Finished:
    """The work is done; ``fields`` are set on the document in the same write as the final status."""

    fields: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class RetryAt:
    """Another attempt can help, not before ``at``. ``charged`` is False when the attempt was not the job's fault."""

    at: datetime
    error: JobError | None = None
    reason: Reason = Reason.RETRY_SCHEDULED
    charged: bool = True


@dataclass(frozen=True, slots=True)
class Failed:
    """No further attempt can help, or none is left."""

    error: JobError
    reason: Reason = Reason.FAILED


@dataclass(frozen=True, slots=True)
class Suspended:
    """The job waits for somebody or something; it holds no worker meanwhile."""

    status: Status = Status.AWAITING_APPROVAL
    fields: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Cancelled:
    """The work was stopped because somebody asked for it."""


Outcome = Finished | RetryAt | Failed | Suspended | Cancelled
