"""What can go wrong between us and MongoDB."""

from datetime import timedelta
from typing import Any

from app.errors import Conflict, OrchestratorError, Unavailable


class StoreUnavailable(Unavailable):
    """The store cannot be reached or is too slow; the same call may succeed later."""

    def __init__(self, message: str, /, **details: Any) -> None:
        super().__init__(message, retry_after=timedelta(seconds=2), **details)


class StoreFailure(OrchestratorError):
    """The store refused what we asked: a defect of ours or of its configuration."""


class DuplicateDocument(Conflict):
    code = "DUPLICATE"
    title = "Already there"
