"""The messages of a session: what a person asked and what an agent answered.

A message is a projection of its task: it is written on the side, in batches, off the caller's path, and a chore
of the sweep inserts whatever a crash left out. Its id follows from the task, so writing it twice is harmless. It is
kept as long as its session is, and by the store's own means removed after that.
"""

import asyncio
import contextlib
from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any

import structlog

from app.database.documents import Documents
from app.database.indexes import Index
from app.errors import OrchestratorError
from app.http.pagination import Cursor

log = structlog.get_logger(__name__)

COLLECTION = "messages"
INDEXES = (
    Index(COLLECTION, (("tenant_id", 1), ("session_id", 1), ("created_at", 1), ("_id", 1))),
    Index(COLLECTION, (("expires_at", 1),), {"expireAfterSeconds": 0}),
)
OLDEST_FIRST = (("created_at", 1), ("_id", 1))
ROLES = ("user", "assistant")
LONGEST_BACKLOG = 5_000
GATHERING_PAUSE = 0.02
MOMENT = timedelta(milliseconds=1)
# Of the life of a session: how much longer its messages are kept, so that they are seldom to be prolonged.
SPARE = 10

Message = dict[str, Any]


def user_message(task: dict[str, Any]) -> Message:
    return _message(task, "user", task["input_text"], task["created_at"])


def assistant_message(task: dict[str, Any], answer: str, at: datetime) -> Message:
    # Behind the question, also when another machine's clock is a little slow.
    return _message(task, "assistant", answer, max(at, task["created_at"] + MOMENT))


def message_ids(task_id: str) -> list[str]:
    """Those of what a task adds to its session, whether they are there or not."""
    return [f"{task_id}:{role}" for role in ROLES]


def _message(task: dict[str, Any], role: str, content: str, at: datetime) -> Message:
    return {
        "_id": f"{task['_id']}:{role}",
        "tenant_id": task["tenant_id"],
        "session_id": task["session_id"],
        "task_id": task["_id"],
        "role": role,
        "content": content,
        "created_at": at,
        "asked_at": task["created_at"],
    }


class MessageLog:
    """``lifetime`` is that of a session after its last activity."""

    def __init__(self, documents: Documents, *, lifetime: timedelta) -> None:
        self._documents = documents
        self._lifetime = lifetime
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
            kept = self._lifetime + self._lifetime / SPARE
            await self._documents.insert_missing({**one, "expires_at": one["created_at"] + kept} for one in batch)

    async def delete_of(self, task_ids: Iterable[str]) -> int:
        """Delete what these tasks added to their sessions; answers how many messages that were."""
        ids = [message_id for task_id in task_ids for message_id in message_ids(task_id)]
        return await self._documents.delete_many({"_id": {"$in": ids}})

    async def list_page(
        self,
        tenant_id: str,
        session_id: str,
        *,
        since: datetime,
        limit: int,
        skip: int = 0,
        after: Cursor | None = None,
    ) -> list[Message]:
        """Messages of tasks asked since then, oldest first, from ``skip`` or from just behind ``after``."""
        where = _of_session(session_id, since)
        if after is not None:
            same = {"created_at": after.created_at, "_id": {"$gt": after.id}}
            where["$or"] = [{"created_at": {"$gt": after.created_at}}, same]
        return await self._documents.of_tenant(tenant_id).find_many(where, limit=limit, skip=skip, sort=OLDEST_FIRST)

    async def count(self, tenant_id: str, session_id: str, *, since: datetime, limit: int) -> int:
        return await self._documents.of_tenant(tenant_id).count(_of_session(session_id, since), limit=limit)

    async def prolong(self, tenant_id: str, session_id: str, expires_at: datetime, *, since: datetime) -> datetime:
        """Keep the messages of a session until it expires, and a little longer; answers until when."""
        until = expires_at + self._lifetime / SPARE
        change = {"$max": {"expires_at": until}}
        await self._documents.of_tenant(tenant_id).update_many(_of_session(session_id, since), change)
        return until

    async def delete_session(self, tenant_id: str, session_id: str) -> int:
        return await self._documents.of_tenant(tenant_id).delete_many({"session_id": session_id})

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


def _of_session(session_id: str, since: datetime) -> dict[str, Any]:
    # Not by `created_at` alone: a task that was asked before may have been answered later.
    return {"session_id": session_id, "created_at": {"$gte": since}, "asked_at": {"$not": {"$lt": since}}}
