"""What follows when a task was claimed or its attempt ended.

Listeners wake, the answer becomes a message, a retry is remembered, the outcome is counted, saved state is deleted.
None of it is needed for the task to end right, and all of it may be lost.
"""

from app.checkpoints.service import Checkpoints
from app.clock import Clock
from app.events.signals import Signals
from app.jobs.doorbell import RingFor
from app.jobs.models import Job
from app.jobs.outcomes import Evaluated, Finished, Outcome, RetryAt, final_status
from app.jobs.reminders import Reminders
from app.observability.metrics import Metrics
from app.tasks.conversation import Conversation
from app.tasks.models import is_dry_run


class TaskAftermath:
    def __init__(
        self,
        signals: Signals,
        conversation: Conversation,
        reminders: Reminders,
        ring: RingFor,
        metrics: Metrics,
        checkpoints: Checkpoints,
        *,
        clock: Clock,
    ) -> None:
        self._signals = signals
        self._conversation = conversation
        self._reminders = reminders
        self._ring = ring
        self._metrics = metrics
        self._checkpoints = checkpoints
        self._clock = clock

    def claimed(self, job: Job) -> None:
        self._signals.notify(job.id)

    def settled(self, job: Job, outcome: Outcome) -> None:
        self._signals.notify(job.id)
        self._conversation.note_outcome(job, outcome, self._clock())
        self._checkpoints.settled(job.id, is_final=final_status(outcome) is not None)
        if isinstance(outcome, RetryAt):
            self._reminders.remind(job, outcome.at)
        elif isinstance(outcome, Evaluated):
            self._ring(job.id)
        elif (status := final_status(outcome)) and not is_dry_run(job.document):
            seconds = (self._clock() - job.document["started_at"]).total_seconds()
            self._metrics.task_finished(_agent_type(job, outcome), status, seconds)


def _agent_type(job: Job, outcome: Outcome) -> str | None:
    fields = outcome.fields if isinstance(outcome, Finished) else job.document
    return fields.get("agent_type")
