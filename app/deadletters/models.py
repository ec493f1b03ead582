"""A dead letter: a task that failed for good, kept with reason and history until somebody re-drives it."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from app.errors import NotFound


class DeadLetterNotFound(NotFound):
    code = "DEAD_LETTER_NOT_FOUND"
    title = "Dead letter not found"


@dataclass(frozen=True, slots=True)
class DeadLetterQuery:
    """Which dead letters are meant; everything is optional and combines with and."""

    error_type: str | None = None
    agent_type: str | None = None
    failed_after: datetime | None = None
    failed_before: datetime | None = None

    @property
    def is_everything(self) -> bool:
        return self == DeadLetterQuery()

    def as_json(self) -> dict[str, Any]:
        """The query as plain data, alike for alike queries."""
        return {
            "error_type": self.error_type,
            "agent_type": self.agent_type,
            "failed_after": self.failed_after.isoformat() if self.failed_after else None,
            "failed_before": self.failed_before.isoformat() if self.failed_before else None,
        }


@dataclass(frozen=True, slots=True)
class Failure:
    """One failure of one task: a later failure of the same task is another one."""

    task_id: str
    failed_at: datetime


@dataclass(frozen=True, slots=True)
class Plan:
    """The failures that one request re-drives; ``has_more`` says that others are left for the next."""

    request: str
    failures: tuple[Failure, ...]
    has_more: bool
