"""The answers of finished tasks as messages of their sessions."""

from collections.abc import Sequence
from datetime import datetime

from app.database.documents import Document, Documents
from app.jobs.models import Job
from app.jobs.outcomes import Finished, Outcome
from app.sessions.messages import Message, MessageLog, assistant_message, user_message

FIELDS = ("tenant_id", "session_id", "input_text", "created_at", "completed_at", "result.raw_output")


def messages_of(task: Document) -> list[Message]:
    """What the task adds to its session: the question, and the answer once there is one."""
    asked = user_message(task)
    if not task.get("result") or task["completed_at"] is None:
        return [asked]
    return [asked, assistant_message(task, task["result"]["raw_output"], task["completed_at"])]


class Conversation:
    """Keeps the messages in step with the tasks."""

    def __init__(self, tasks: Documents, messages: Documents, log: MessageLog) -> None:
        self._tasks = tasks
        self._messages = messages
        self._log = log

    def note_outcome(self, job: Job, outcome: Outcome, at: datetime) -> None:
        """Write the answer of a task that was just finished, soon."""
        if isinstance(outcome, Finished) and (result := outcome.fields.get("result")):
            self._log.write_soon(assistant_message(dict(job.document), result["raw_output"], at))

    async def complete(self, tasks: Sequence[Document]) -> None:
        """Insert the messages that a crash left out."""
        wanted = [f"{task['_id']}:{role}" for task in tasks for role in ("user", "assistant")]
        present = await self._messages.find_many({"_id": {"$in": wanted}}, limit=len(wanted), fields=["_id"])
        known = {message["_id"] for message in present}
        incomplete = [task["_id"] for task in tasks if f"{task['_id']}:assistant" not in known]
        found = await self._tasks.find_many({"_id": {"$in": incomplete}}, limit=len(tasks), fields=FIELDS)
        await self._log.write(one for task in found for one in messages_of(task) if one["_id"] not in known)
