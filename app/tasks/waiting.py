"""Waiting for a task to move: woken by signals, bounded in time, never a busy poll."""

import time
from collections.abc import Callable
from datetime import timedelta

from app.database.documents import Document
from app.events.signals import Signals
from app.jobs.models import Status
from app.tasks.repository import TaskRepository

Condition = Callable[[Document], bool]


def is_final(task: Document) -> bool:
    return Status(task["status"]).is_final


class TaskWatch:
    """Reads a task until a condition holds or the time is over."""

    def __init__(self, repository: TaskRepository, signals: Signals) -> None:
        self._repository = repository
        self._signals = signals

    async def until(self, tenant_id: str, task_id: str, condition: Condition, *, at_most: timedelta) -> Document:
        """The task as it is once the condition has held, or as it is when the time is over."""
        ends_at = time.monotonic() + at_most.total_seconds()
        # Listening begins before the first look, so that no change falls between the two.
        with self._signals.waiting_for(task_id) as waiter:
            while True:
                progress = await self._repository.get_progress(tenant_id, task_id)
                remaining = ends_at - time.monotonic()
                if condition(progress) or remaining <= 0 or waiter.must_end:
                    return await self._repository.get(tenant_id, task_id)
                await waiter.wait(timedelta(seconds=remaining))
