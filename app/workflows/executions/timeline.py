"""What happened in an execution, in the order of its events: steps began and ended, people and drivers did things."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from app.jobs.models import Job
from app.workflows.executions.repository import ExecutionRepository


class Kind(StrEnum):
    STARTED = "step.started"
    ENDED = "step.ended"
    EXECUTION = "execution"


@dataclass(frozen=True, slots=True)
class Occurrence:
    """``subject`` is the step, or the entry of the execution's own log."""

    seq: int
    at: datetime | None
    kind: Kind
    subject: Mapping[str, Any]


class Timeline:
    def __init__(self, repository: ExecutionRepository) -> None:
        self._repository = repository

    async def list_after(self, execution: Job, after: int, *, limit: int) -> list[Occurrence]:
        """The next ones behind a place; a number may be missing for a moment, or for ever."""
        begun, ended = await asyncio.gather(
            self._repository.list_begun(execution.tenant_id, execution.id, after=after, limit=limit),
            self._repository.list_ended(execution.tenant_id, execution.id, after=after, limit=limit),
        )
        own = (entry for entry in execution.document["log"] if entry["seq"] > after)
        found = [
            *(Occurrence(step["seq"], step["created_at"], Kind.STARTED, step) for step in begun),
            *(Occurrence(step["ended_seq"], step["completed_at"], Kind.ENDED, step) for step in ended),
            *(Occurrence(entry["seq"], entry["at"], Kind.EXECUTION, entry) for entry in own),
        ]
        return sorted(found, key=lambda one: one.seq)[:limit]

    async def newest(self, execution: Job) -> int:
        """The number of the last event so far, 0 before the first."""
        of_steps = await self._repository.newest_seq(execution.tenant_id, execution.id)
        own: list[int] = [entry["seq"] for entry in execution.document["log"]]
        last: int = execution.document["last_seq"]
        return max(of_steps, last, *own)
