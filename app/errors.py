"""The one tree of errors the product raises on purpose.

::

    OrchestratorError            INTERNAL                  500
    ├── NotFound                 *_NOT_FOUND               404
    ├── Conflict                 CONFLICT                  409
    │   └── LeaseLost            LEASE_LOST                409   never leaves the worker
    ├── Invalid                  VALIDATION_ERROR          422
    ├── NotAuthenticated         UNAUTHENTICATED           401
    ├── NotPermitted             FORBIDDEN                 403
    ├── RateLimited              RATE_LIMIT_EXCEEDED       429
    ├── Unavailable              SERVICE_UNAVAILABLE       503   retryable
    └── ExecutionError           INTERNAL                  500   why a job failed; code = error.type

Features subclass beside the code that raises. ``code`` is stable and documented, ``status`` is the HTTP
answer, ``retryable`` tells the kernel whether another attempt can help, ``backs_off`` whether it has to wait longer
each time: False where nobody is overloaded.
"""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any, ClassVar


class OrchestratorError(Exception):
    """A failure with a stable code, a message for people and details for programs."""

    code: ClassVar[str] = "INTERNAL"
    status: ClassVar[int] = 500
    title: ClassVar[str] = "Internal error"
    retryable: ClassVar[bool] = False
    backs_off: ClassVar[bool] = True

    def __init__(self, message: str, /, *, retry_after: timedelta | None = None, **details: Any) -> None:
        super().__init__(message)
        self.message = message
        self.retry_after = retry_after
        self.details: Mapping[str, Any] = details


class NotFound(OrchestratorError):
    code = "NOT_FOUND"
    status = 404
    title = "Not found"


class Conflict(OrchestratorError):
    code = "CONFLICT"
    status = 409
    title = "Conflict"


class LeaseLost(Conflict):
    """The job now belongs to another attempt; whatever this one learned must not be written."""

    code = "LEASE_LOST"
    title = "Lease lost"


class Invalid(OrchestratorError):
    code = "VALIDATION_ERROR"
    status = 422
    title = "Invalid request"


class NotAuthenticated(OrchestratorError):
    code = "UNAUTHENTICATED"
    status = 401
    title = "Authentication needed"


class NotPermitted(OrchestratorError):
    code = "FORBIDDEN"
    status = 403
    title = "Not permitted"


class RateLimited(OrchestratorError):
    code = "RATE_LIMIT_EXCEEDED"
    status = 429
    title = "Too many requests"
    retryable = True


class Unavailable(OrchestratorError):
    code = "SERVICE_UNAVAILABLE"
    status = 503
    title = "Service unavailable"
    retryable = True


class ExecutionError(OrchestratorError):
    """Why a job failed; ``code`` becomes the ``error.type`` of the job."""


class DeadlineExceeded(ExecutionError):
    code = "DEADLINE_EXCEEDED"
    title = "Deadline exceeded"


class AttemptTimeout(ExecutionError):
    code = "TIMEOUT"
    title = "Attempt timed out"
    retryable = True


class WorkerLost(ExecutionError):
    code = "WORKER_LOST"
    title = "Worker lost"
    retryable = True


class NotAsked(ExecutionError):
    """A provider that would not have answered was not asked, so the attempt is not charged; it can be in `retry_after`.

    ``reason`` is what the job's history says.
    """

    reason: ClassVar[str]
    retryable = True


class CircuitOpen(NotAsked):
    """The provider is known to be down."""

    code = "CIRCUIT_OPEN"
    title = "Provider is known to be down"
    reason = "circuit_open"
