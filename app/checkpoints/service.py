"""The checkpoints of agents in one worker process: opened per attempt, deleted when their task has ended."""

import asyncio
import contextlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import timedelta

import structlog

from app.artifacts.store import ArtifactStore
from app.checkpoints.models import Ledger, ThreadKey
from app.checkpoints.saver import MongoSaver
from app.checkpoints.serde import StrictSerializer
from app.checkpoints.thread import Thread
from app.checkpoints.values import Values
from app.clock import Clock
from app.database.documents import Documents
from app.errors import OrchestratorError

log = structlog.get_logger(__name__)

GATHERING_PAUSE = 0.05
LARGEST_BATCH = 500
MOST_REMEMBERED = 10_000
MOST_EXPIRED = 100


@dataclass(frozen=True, slots=True)
class Leftover:
    """What a thread leaves behind in the stores."""

    id: str
    place: str
    blobs: frozenset[str]


class AgentCheckpoints:
    """Where the agent of one attempt keeps its state; an agent gets it with its tools."""

    def __init__(self, thread_id: str, open_thread: Callable[[str], Thread]) -> None:
        self.thread_id = thread_id
        self.thread: Thread | None = None
        self._open_thread = open_thread

    def open(self, *, shape: str, types: Iterable[type] = ()) -> tuple[Thread, MongoSaver]:
        """The thread and its saver for a graph of this ``shape``, whose state may hold values of these ``types``."""
        thread = self.thread = self._open_thread(shape)
        return thread, MongoSaver(lambda _: thread, StrictSerializer(types), defers_input=True)

    @property
    def is_stored(self) -> bool:
        return self.thread is not None and self.thread.is_stored


class Checkpoints:
    """The checkpoints of all tenants. Its methods belong to the event loop."""

    def __init__(self, documents: Documents, artifacts: ArtifactStore, *, ttl: timedelta, clock: Clock) -> None:
        self._documents = documents
        self._artifacts = artifacts
        self._ttl = ttl
        self._clock = clock
        self._left: dict[str, Leftover] = {}
        self._ended: list[Leftover] = []
        self._eraser: asyncio.Task[None] | None = None

    def of_attempt(self, key: ThreadKey, ledger: Ledger | None = None) -> AgentCheckpoints:
        return AgentCheckpoints(key.thread_id, lambda shape: self.open_thread(key, shape=shape, ledger=ledger))

    def open_thread(self, key: ThreadKey, *, shape: str = "", ledger: Ledger | None = None) -> Thread:
        values = Values(self._artifacts, key.place, key.thread_id)
        documents = self._documents.of_tenant(key.tenant_id)
        return Thread(documents, values, key, ttl=self._ttl, clock=self._clock, shape=shape, ledger=ledger)

    def remember(self, job_id: str, checkpoints: AgentCheckpoints) -> None:
        """Note what the attempt left in the store, for when the job has ended."""
        thread = checkpoints.thread
        if thread is None or not thread.is_stored:
            return
        self._left[job_id] = Leftover(thread.id, thread.key.place, frozenset(thread.blobs))
        if len(self._left) > MOST_REMEMBERED:
            # Of an attempt that lost its lease nobody hears again; its checkpoints expire.
            del self._left[next(iter(self._left))]

    def settled(self, job_id: str, *, is_final: bool) -> None:
        """Delete the checkpoints of a job that has ended, soon and together with others'; what is missed expires."""
        left = self._left.pop(job_id, None)
        if left is None or not is_final or len(self._ended) >= MOST_REMEMBERED:
            return
        self._ended.append(left)
        if self._eraser is None or self._eraser.done():
            self._eraser = asyncio.create_task(self._erase_ended(), name="checkpoints")

    async def remove_expired(self) -> int:
        """Delete expired threads that have blobs, some at a time; the TTL index removes the others."""
        expired = await self._documents.find_many(
            {"erase_at": {"$lte": self._clock()}},
            limit=MOST_EXPIRED,
            fields=("place", "blobs"),
        )
        await self._erase([Leftover(one["_id"], one["place"], frozenset(one["blobs"])) for one in expired])
        return len(expired)

    async def close(self) -> None:
        if self._eraser is not None:
            with contextlib.suppress(asyncio.CancelledError):
                await self._eraser

    async def _erase_ended(self) -> None:
        while self._ended:
            batch, self._ended = self._ended[:LARGEST_BATCH], self._ended[LARGEST_BATCH:]
            try:
                await self._erase(batch)
            except OrchestratorError as error:
                log.warning("checkpoints.not_deleted", error_type=error.code, count=len(batch))
            await asyncio.sleep(GATHERING_PAUSE)

    async def _erase(self, batch: list[Leftover]) -> None:
        # The blobs first: a document that is gone would no longer name them.
        for left in batch:
            for sha256 in left.blobs:
                await self._artifacts.delete(left.place, sha256)
        if batch:
            await self._documents.delete_many({"_id": {"$in": [left.id for left in batch]}})
