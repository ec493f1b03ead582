"""The answers of finished tasks as messages of their sessions."""

from collections.abc import Sequence
from datetime import datetime

from app.database.documents import Document, Documents, Sort
from app.jobs.models import DRY_RUN, Job
from app.jobs.outcomes import Finished, Outcome
from app.jobs.workers import SYSTEM_TENANT
from app.metrics.rollups import BATCHES_PER_PASS
from app.sessions.messages import ROLES, Message, MessageLog, assistant_message, user_message
from app.tasks.models import is_dry_run

FIELDS = ("tenant_id", "session_id", "input_text", "created_at", "completed_at", "result.raw_output", DRY_RUN)
OLDEST: Sort = (("_id", 1),)


def messages_of(task: Document) -> list[Message]:
    """What the task adds to its session: the question, and the answer once there is one; a dry run nothing."""
    if is_dry_run(task):
        return []
    asked = user_message(task)
    if not task.get("result") or task["completed_at"] is None:
        return [asked]
    return [asked, assistant_message(task, task["result"]["raw_output"], task["completed_at"])]


class Conversation:
    """Keeps the messages in step with the tasks.

    ``counted`` holds batches of tasks that ended; the roll-ups put them there and this class takes them out.
    """

    def __init__(self, tasks: Documents, messages: Documents, log: MessageLog, counted: Documents) -> None:
        self._tasks = tasks
        self._messages = messages
        self._log = log
        self._counted = counted.of_tenant(SYSTEM_TENANT)

    def note_outcome(self, job: Job, outcome: Outcome, at: datetime) -> None:
        """Write the answer of a task that was just finished, soon."""
        if isinstance(outcome, Finished) and (result := outcome.fields.get("result")):
            self._log.write_soon(assistant_message(dict(job.document), result["raw_output"], at))

    async def complete_counted(self) -> None:
        """Insert the messages of counted tasks that a crash left out, for a bounded number of batches."""
        for batch in await self._counted.find_many({}, sort=OLDEST, limit=BATCHES_PER_PASS):
            await self.complete(batch["jobs"])
            # Last, so that a crash means another look and never a missing one.
            await self._counted.delete_one({"_id": batch["_id"]})

    async def complete(self, task_ids: Sequence[str]) -> None:
        """Insert the missing messages of these tasks."""
        wanted = [f"{task_id}:{role}" for task_id in task_ids for role in ROLES]
        present = await self._messages.find_many({"_id": {"$in": wanted}}, limit=len(wanted), fields=["_id"])
        known = {message["_id"] for message in present}
        incomplete = sorted({message_id.rpartition(":")[0] for message_id in wanted if message_id not in known})
        if not incomplete:
            return
        tasks = await self._tasks.find_many({"_id": {"$in": incomplete}}, limit=len(incomplete), fields=FIELDS)
        await self._log.write(one for task in tasks for one in messages_of(task) if one["_id"] not in known)
