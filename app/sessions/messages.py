"""The messages of a session: what a person asked and what an agent answered.

A message is a projection of its task: it is written on the side, in batches, off the caller's path, and a chore
of the sweep inserts whatever a crash left out. Its id follows from the task, so writing it twice is harmless.
"""

import asyncio
import contextlib
from collections.abc import Iterable
from datetime import datetime
from typing import Any

import structlog

from app.database.documents import Documents
from app.database.indexes import Index
from app.errors import OrchestratorError

log = structlog.get_logger(__name__)

COLLECTION = "messages"
INDEXES = (Index(COLLECTION, (("tenant_id", 1), ("session_id", 1), ("created_at", 1))),)
ROLES = ("user", "assistant")
LONGEST_BACKLOG = 5_000
GATHERING_PAUSE = 0.02

Message = dict[str, Any]


def user_message(task: dict[str, Any]) -> Message:
    return _message(task, "user", task["input_text"], task["created_at"])


def assistant_message(task: dict[str, Any], answer: str, at: datetime) -> Message:
    return _message(task, "assistant", answer, at)


def _message(task: dict[str, Any], role: str, content: str, at: datetime) -> Message:
    return {
        "_id": f"{task['_id']}:{role}",
        "tenant_id": task["tenant_id"],
        "session_id": task["session_id"],
        "task_id": task["_id"],
        "role": role,
        "content": content,
        "created_at": at,
    }


class MessageLog:
    """Writes messages; reads come with the sessions."""

    def __init__(self, documents: Documents) -> None:
        self._documents = documents
        self._unwritten: list[Message] = []
        self._writer: asyncio.Task[None] | None = None

    def write_soon(self, message: Message) -> None:
        """Returns at once; under load many messages share one write. Must be called on the event loop."""
        if len(self._unwritten) < LONGEST_BACKLOG:
            self._unwritten.append(message)
        if self._writer is None or self._writer.done():
            self._writer = asyncio.create_task(self._write(), name="messages")

    async def write(self, messages: Iterable[Message]) -> None:
        """Insert those that are not there yet."""
        if batch := list(messages):
            await self._documents.insert_missing(batch)

    async def delete_of(self, task_ids: Iterable[str]) -> int:
        """Delete what these tasks added to their sessions; answers how many messages that were."""
        ids = [f"{task_id}:{role}" for task_id in task_ids for role in ROLES]
        return await self._documents.delete_many({"_id": {"$in": ids}})

    async def close(self) -> None:
        if self._writer is not None:
            with contextlib.suppress(asyncio.CancelledError):
                await self._writer

    async def _write(self) -> None:
        while self._unwritten:
            batch, self._unwritten = self._unwritten, []
            try:
                await self.write(batch)
            except OrchestratorError as error:
                log.warning("messages.not_written", error_type=error.code, count=len(batch))
            await asyncio.sleep(GATHERING_PAUSE)
