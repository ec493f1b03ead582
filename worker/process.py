"""One worker process: its slots, its lease, its watchers, and how it stops."""

import asyncio
import os
import threading
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import Future
from datetime import timedelta
from functools import partial

import structlog

from app.bootstrap.execution import Execution
from app.bootstrap.worked import Run
from app.errors import OrchestratorError
from app.ids import is_id
from app.jobs.lanes import Stage
from app.jobs.runner import JobRunner
from app.jobs.workers import WorkerIdentity
from worker.event_loop import EventLoopThread

log = structlog.get_logger(__name__)

EXIT_LOOP_DEAD = 70
ADMISSION_PAUSE = 0.5
RELEASE_PATIENCE = 3.0
CLOSING_PATIENCE = 5.0
CANCEL_POLL = timedelta(milliseconds=500)
RECONCILE_POLL = timedelta(seconds=5)
CLOCK_POLL = timedelta(seconds=10)
CIRCUIT_POLL = timedelta(seconds=10)


class WorkerProcess:
    """Takes ids from Celery's threads and runs the jobs on the event loop, a bounded number at a time."""

    def __init__(
        self,
        execution: Execution,
        events: EventLoopThread,
        *,
        identify: Callable[[], WorkerIdentity],
        grace: timedelta,
    ) -> None:
        self._execution = execution
        self._slots = execution.slots
        self._heartbeat = execution.create_heartbeat(
            identify, in_flight=lambda: self._slots.in_use, on_lost=self._fence, watch=self._watch
        )
        self._slots.identify_by(self._find_holder)
        self._events = events
        self._grace = grace
        self._draining = threading.Event()
        self._drained = False
        self._drain_by = 0.0
        self._watched_at = time.monotonic()
        self._jobs: set[Future[None]] = set()
        self._background: list[Future[None]] = []

    @property
    def _runners(self) -> list[JobRunner]:
        return [worked.runner for worked in self._execution.worked.values()]

    def start(self) -> None:
        """Register the worker; from here on it may claim."""
        self._heartbeat.start()
        self._background = [
            self._events.submit(_repeat(self._heed_cancel_requests, every=CANCEL_POLL)),
            self._events.submit(_repeat(self._reconcile, every=RECONCILE_POLL)),
            self._events.submit(_repeat(self._execution.synchronise_clock, every=CLOCK_POLL)),
            self._events.submit(_repeat(self._execution.guarded.refresh, every=CIRCUIT_POLL)),
            self._events.submit(self._execution.upkeep.run_for_ever()),
        ]

    def accept(self, kind: str, job_id: str, stage: Stage | None = None) -> None:
        """Hand a job of this kind, for this stage of its work, to the event loop.

        Blocks while every slot is taken or the worker has no lease: that is the back-pressure, which leaves messages
        to workers that can do something with them.
        """
        if not is_id(job_id):
            log.warning("worker.refused_id", kind=kind)
            return
        worked = self._execution.worked[kind]
        worker_id = self._await_admission()
        if worker_id is None:
            # Not claimed, so nothing is lost; ringing again only spares the job the wait for the sweep.
            worked.jobs.bell.ring(job_id, stage)
            return
        run = worked.run if stage is None else partial(worked.runner.run, stage=stage)
        job = self._events.submit(self._run(run, job_id, worker_id))
        self._jobs.add(job)
        job.add_done_callback(self._free_slot)

    def stop_claiming(self) -> None:
        """From now on every message is left for another worker; called as soon as the process is told to stop."""
        if not self._draining.is_set():
            self._drain_by = time.monotonic() + self._grace.total_seconds()
            self._draining.set()
            log.info("worker.draining", in_flight=self._slots.in_use)

    def drain(self) -> None:
        """Let running jobs finish for the grace period, then hand the rest back uncharged. Once is enough."""
        self.stop_claiming()
        if self._drained:
            return
        self._drained = True
        try:
            self._events.run(self._finish_or_release(), patience=self._grace.total_seconds() + 2 * RELEASE_PATIENCE)
            # Only now: while jobs run they must not be taken for a dead worker's.
            self._heartbeat.stop()
            self._events.run(self._execution.close(), patience=CLOSING_PATIENCE)
        except TimeoutError:
            # What could not be handed back is released when the lease ends.
            log.warning("worker.drain_incomplete", in_flight=self._slots.in_use)

    def _await_admission(self) -> str | None:
        """The id to claim under, with a slot taken; None when the process is told to stop first."""
        while not self._slots.acquire(timeout=ADMISSION_PAUSE):
            if self._draining.is_set():
                return None
        while (worker_id := self._find_holder()) is None:
            if self._draining.wait(ADMISSION_PAUSE):
                self._slots.release()
                return None
        return worker_id

    def _find_holder(self) -> str | None:
        return None if self._draining.is_set() else self._heartbeat.worker_id

    def _watch(self) -> None:
        """End the process when the event loop died or stands still: another will do better."""
        now = time.monotonic()
        was_paused = now - self._watched_at > self._execution.lease.total_seconds()
        self._watched_at = now
        lag = self._events.measure_lag()
        if was_paused and self._events.is_alive:
            # The whole process stood still (a suspended machine); the lease takes care of its jobs.
            return
        if not self._events.is_alive or lag > self._execution.lease.total_seconds():
            log.critical("worker.event_loop_stopped", lag_seconds=round(lag, 1))
            os._exit(EXIT_LOOP_DEAD)

    def _fence(self, worker_id: str) -> None:
        """Stop whatever was claimed under a lease that ran out; called from the heartbeat's thread."""
        for runner in self._runners:
            self._events.loop.call_soon_threadsafe(runner.fence, worker_id)

    async def _run(self, run: Run, job_id: str, worker_id: str) -> None:
        try:
            await run(job_id, worker=worker_id)
        except OrchestratorError as error:
            # Either nothing was claimed, or the answer was lost and the reconciler gives the job back.
            log.warning("job.not_run", task_id=job_id, error_type=error.code)
        except Exception:  # the edge of the worker: one job's defect must not cost the others
            log.exception("job.run_crashed", task_id=job_id)

    def _free_slot(self, job: "Future[None]") -> None:
        self._jobs.discard(job)
        self._slots.release()

    async def _heed_cancel_requests(self) -> None:
        worker_id = self._heartbeat.worker_id
        if worker_id is None:
            return
        for worked in self._execution.worked.values():
            if not worked.runner.is_idle:
                for job_id in await worked.jobs.recovery.list_cancel_requests(worker_id):
                    worked.runner.cancel(job_id)

    async def _reconcile(self) -> None:
        for worked in self._execution.worked.values():
            if worker_id := self._heartbeat.worker_id:
                await worked.reconciler.release_forgotten(worker_id)

    async def _finish_or_release(self) -> None:
        await self._wait_until_idle(self._drain_by)
        for runner in self._runners:
            runner.stop_all()
        await self._wait_until_idle(time.monotonic() + RELEASE_PATIENCE)
        # Last, so that a cancel request is heeded as long as anything runs.
        for task in self._background:
            task.cancel()

    async def _wait_until_idle(self, until: float) -> None:
        # Not only for what messages started: a slot may have been taken on the event loop.
        await asyncio.to_thread(self._slots.wait_until_idle, max(until - time.monotonic(), 0))


async def _repeat(chore: Callable[[], Awaitable[object]], *, every: timedelta) -> None:
    while True:
        await asyncio.sleep(every.total_seconds())
        try:
            await chore()
        except OrchestratorError as error:
            log.debug("worker.chore_failed", error_type=error.code)
        except Exception:  # a background loop: the next round may go better, and must take place
            log.exception("worker.chore_crashed")
