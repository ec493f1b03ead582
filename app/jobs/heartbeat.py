"""Keeps the worker's document alive from an OS thread of its own, so that a busy event loop does not cost the lease."""

import threading
import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import structlog
from pymongo.collection import Collection
from pymongo.errors import PyMongoError

from app.clock import Clock
from app.jobs.workers import WorkerIdentity, registration, renewable, renewal

log = structlog.get_logger(__name__)

URGENT_PAUSE = 0.5
# What one renewal may take, and the pause after one that failed, as shares of the interval: together they are no
# longer than it, so that the last look before the lease ends is never late.
LONGEST_RENEWAL = 0.75
LONGEST_URGENT_PAUSE = 0.25


def longest_renewal(interval: timedelta) -> timedelta:
    """What one operation of the heartbeat's client may take at most."""
    return interval * LONGEST_RENEWAL


class Heartbeat:
    """Registers the worker and renews its lease until stopped.

    When the lease could not be renewed in time, or was found expired, ``on_lost`` is called with the worker's id and
    the worker registers again under a new one: whatever it held may belong to somebody else by then.
    """

    def __init__(
        self,
        workers: Collection[dict[str, Any]],
        identify: Callable[[], WorkerIdentity],
        *,
        lease: timedelta,
        interval: timedelta,
        clock: Clock,
        in_flight: Callable[[], int],
        on_lost: Callable[[str], None],
        watch: Callable[[], None],
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._workers = workers
        self._identify = identify
        self._lease = lease
        self._interval = interval
        self._clock = clock
        self._in_flight = in_flight
        self._on_lost = on_lost
        self._watch = watch
        self._monotonic = monotonic
        self._stopping = threading.Event()
        self._identity: WorkerIdentity | None = None
        self._renewed_at = 0.0
        self._is_renewed = False
        self._thread = threading.Thread(target=self._beat_for_ever, name="heartbeat", daemon=True)

    @property
    def worker_id(self) -> str | None:
        """The id jobs are claimed under; None while the worker has no lease and must not claim.

        A lease that ran out counts as none even before the beat notices it, as after a long pause of the process.
        """
        identity = self._identity
        holds = identity is not None and self._monotonic() < self._renewed_at + self._lease.total_seconds()
        return identity.id if identity and holds else None

    def start(self) -> None:
        self._beat()
        self._thread.start()

    def stop(self) -> None:
        """Stop renewing and give the registration back."""
        self._stopping.set()
        self._thread.join(self._interval.total_seconds() + 1)
        if self._identity is not None:
            self._forget(self._identity.id)

    def _beat_for_ever(self) -> None:
        while not self._stopping.wait(self._pause()):
            self._watch()
            try:
                self._beat()
            except Exception:  # the edge of the thread: without it nobody would fence this worker
                log.exception("heartbeat.crashed")
                self._lose()

    def _pause(self) -> float:
        seconds = self._interval.total_seconds()
        # Without a lease no job can be claimed, and a renewal that failed must be repeated before the lease ends.
        urgent = min(seconds * LONGEST_URGENT_PAUSE, URGENT_PAUSE)
        return seconds if self._identity and self._is_renewed else urgent

    def _beat(self) -> None:
        started = self._monotonic()
        try:
            alive = self._renew() if self._identity else self._register()
        except PyMongoError as error:
            log.warning("heartbeat.not_renewed", error=type(error).__name__)
            self._is_renewed = False
            alive = self._monotonic() < self._must_stop_at()
        else:
            self._is_renewed = True
            # Counted from before the write: the store may have set the expiry at any moment since.
            self._renewed_at = started
        if not alive:
            self._lose()

    def _must_stop_at(self) -> float:
        return self._renewed_at + (self._lease - self._interval).total_seconds()

    def _register(self) -> bool:
        identity = self._identify()
        self._workers.insert_one(registration(identity, now=self._clock(), lease=self._lease))
        self._identity = identity
        log.info("worker.registered", worker_id=identity.id)
        return True

    def _renew(self) -> bool:
        assert self._identity is not None  # noqa: S101
        now = self._clock()
        change = renewal(in_flight=self._in_flight(), now=now, lease=self._lease)
        return self._workers.update_one(renewable(self._identity.id, now), change).matched_count == 1

    def _lose(self) -> None:
        lost, self._identity = self._identity, None
        if lost is not None:
            log.error("worker.lease_lost", worker_id=lost.id)
            self._on_lost(lost.id)

    def _forget(self, worker_id: str) -> None:
        try:
            self._workers.delete_one({"_id": worker_id})
        except PyMongoError:
            # It expires by itself.
            log.warning("heartbeat.not_forgotten", worker_id=worker_id)
