"""Rings for waiting jobs: one Celery message with the id, published off the caller's path and bounded in time.

A ring may be lost without harm. What could not be published is kept for a while and tried again, and the sweep rings
for everything else, so neither a slow nor a dead broker ever delays or fails a request.
"""

import asyncio
import contextlib
import queue
import threading
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Protocol

import structlog
from celery import Celery
from kombu.connection import Connection

from app.jobs.lanes import Stage

log = structlog.get_logger(__name__)

BUFFERED = 10_000
# Under load many rings share a round trip to the broker, where the transport can do that.
LARGEST_BATCH = 50
PAUSE_AFTER_FAILURE = 1.0
DEPTH_PATIENCE = 2.0
NO_QUEUE = "404"


class RingFor(Protocol):
    def __call__(self, job_id: str, stage: Stage | None = None, /) -> None:
        """Call a worker for this stage of the job's work; returns at once."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where messages of one kind go: the Celery task and its queue."""

    task: str
    queue_name: str


@dataclass(frozen=True, slots=True)
class Ring:
    """One message: the id is the only argument of its Celery task."""

    place: Place
    argument: str
    job_id: str


class Doorbell:
    """Publishes from one background thread, which is the only one that touches the broker."""

    def __init__(self, celery: Celery, *, on_ring: Callable[[bool], None]) -> None:
        self._celery = celery
        self._on_ring = on_ring
        self._queue_names: set[str] = set()
        self._waiting: queue.Queue[Ring | None] = queue.Queue(maxsize=BUFFERED)
        self._closing = threading.Event()
        self._answers = True
        self._is_last = False
        self._thread = threading.Thread(target=self._publish_for_ever, name="doorbell", daemon=True)
        self._thread.start()

    def bell(
        self, *, task: str, queue_name: str, argument: str, stages: Mapping[Stage, Place] = MappingProxyType({})
    ) -> "Bell":
        """The bell of one kind of job; the id is the ``argument`` of its Celery task, and of those of its stages."""
        places: dict[Stage | None, Place] = {None: Place(task, queue_name)}
        places.update(dict(stages.items()))
        self._queue_names.update(place.queue_name for place in places.values())
        return Bell(self, places, argument=argument)

    def publish(self, ring: Ring) -> None:
        """Return at once; the message goes out shortly, or the sweep rings later."""
        try:
            self._waiting.put_nowait(ring)
        except queue.Full:
            self._on_ring(False)

    def close(self, *, patience: float = 2.0) -> None:
        """Publish what waits, for at most ``patience`` seconds."""
        self._closing.set()
        with contextlib.suppress(queue.Full):
            self._waiting.put_nowait(None)
        self._thread.join(patience)

    @property
    def is_answered(self) -> bool:
        """Whether the broker took the last ring."""
        return self._answers

    async def measure_depth(self, queue_names: Collection[str] = ()) -> int | None:
        """Messages that wait in these queues, or in those of all bells; None when the broker cannot say."""
        if not self._answers:
            # A ring is being repeated until it is taken; asking beside it would only wait as long as it does.
            return None
        try:
            return await asyncio.wait_for(
                asyncio.to_thread(self._ask_depth, queue_names or self._queue_names), DEPTH_PATIENCE
            )
        except Exception as error:  # noqa: BLE001 - every broker has errors of its own, and all mean "cannot say"
            log.debug("doorbell.depth_unknown", error=type(error).__name__)
            return None

    def _ask_depth(self, queue_names: Collection[str]) -> int:
        with self._celery.connection_for_read() as connection:
            return sum(depth_of(connection, name) for name in sorted(queue_names))

    def _publish_for_ever(self) -> None:
        while batch := self._next_batch():
            while not self._publish(batch):
                if self._closing.wait(PAUSE_AFTER_FAILURE):
                    return

    def _next_batch(self) -> list[Ring]:
        """What waits, at least one ring; nothing when the doorbell was closed and all is published."""
        batch: list[Ring] = []
        while not self._is_last and len(batch) < LARGEST_BATCH:
            try:
                # Only the first is waited for.
                ring = self._waiting.get(block=not batch)
            except queue.Empty:
                break
            if ring is None:
                self._is_last = True
            else:
                batch.append(ring)
        return batch

    def _publish(self, batch: list[Ring]) -> bool:
        try:
            with self._celery.producer_or_acquire() as producer, producer.batch(max_size=LARGEST_BATCH):
                for ring in batch:
                    self._send(ring, producer)
        except Exception as error:  # noqa: BLE001 - a broker that is down must not end the thread
            if self._answers:
                log.warning("doorbell.not_rung", error=type(error).__name__)
            self._answers = False
            self._on_ring(False)
            return False
        self._answers = True
        for _ in batch:
            self._on_ring(True)
        return True

    def _send(self, ring: Ring, producer: Any) -> None:
        self._celery.send_task(
            ring.place.task,
            kwargs={ring.argument: ring.job_id},
            queue=ring.place.queue_name,
            ignore_result=True,
            # Descriptions for monitoring that nobody reads; making them is a tenth of the work.
            argsrepr="",
            kwargsrepr="",
            retry=False,
            producer=producer,
        )


class Bell:
    """Rings for the jobs of one kind; all bells share the doorbell's thread and connection."""

    def __init__(self, doorbell: Doorbell, places: Mapping[Stage | None, Place], *, argument: str) -> None:
        self.queue_names = frozenset(place.queue_name for place in places.values())
        self._doorbell = doorbell
        self._places = places
        self._argument = argument

    def ring(self, job_id: str, stage: Stage | None = None, /) -> None:
        """Return at once; the message goes out shortly, or the sweep rings later."""
        self._doorbell.publish(Ring(self._places[stage], self._argument, job_id))

    @property
    def is_answered(self) -> bool:
        """Whether the broker took the last ring of any bell."""
        return self._doorbell.is_answered

    async def measure_depth(self) -> int | None:
        """Messages that wait in this bell's queues, other bells' included; None when the broker cannot say."""
        return await self._doorbell.measure_depth(self.queue_names)


def depth_of(connection: Connection, queue_name: str) -> int:
    """Messages that wait in the queue; raises what the broker's client raises."""
    channel: Any = connection.default_channel
    try:
        return int(channel.queue_declare(queue=queue_name, passive=True).message_count)
    except connection.channel_errors as error:
        # Redis drops an empty list, so a queue without messages looks like one that never was.
        if str(getattr(error, "reply_code", "")) == NO_QUEUE:
            return 0
        raise
