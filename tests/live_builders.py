"""Live events in tests."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from app.clock import utc_now
from app.events.live import LiveEvent, LiveLog, LiveTask
from app.events.publishing import LivePublisher
from app.jobs.history import new_entry
from app.jobs.models import Job, Reason, Status

TASK = LiveTask("red", "11111111-2222-4333-8444-555555555555")
Step = tuple[Status, Reason]
QUEUED, CLAIMED = (Status.QUEUED, Reason.ACCEPTED), (Status.PROCESSING, Reason.CLAIMED)
LOST, DONE = (Status.QUEUED, Reason.WORKER_LOST), (Status.COMPLETED, Reason.FINISHED)


class MemoryLog(LiveLog):
    """Keeps what is appended in this process."""

    def __init__(self) -> None:
        super().__init__(None)
        self.events: list[LiveEvent] = []

    @property
    def is_kept(self) -> bool:
        return True

    @property
    def told(self) -> list[dict[str, Any]]:
        return [json.loads(event.data) for event in self.events]

    async def append(self, events: Mapping[LiveTask, Sequence[LiveEvent]]) -> bool:
        for appended in events.values():
            self.events.extend(appended)
        return True


def a_publisher(log: LiveLog | None = None, *, tokens: bool = True) -> LivePublisher:
    """Without a log nobody hears it."""
    return LivePublisher(log or LiveLog(None), tokens=tokens, on_first_token=lambda *_: None)


def a_history(*steps: Step) -> list[dict[str, Any]]:
    return [new_entry(status, utc_now(), reason) for status, reason in steps]


def a_running_job(*steps: Step) -> Job:
    history = a_history(*(steps or (QUEUED, CLAIMED)))
    now = utc_now()
    return Job(TASK.task_id, TASK.tenant_id, Status.PROCESSING, 1, 3, now, now, document={"history": history})
