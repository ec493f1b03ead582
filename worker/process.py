"""One worker process: its slots, its lease, its watchers, and how it stops."""

import asyncio
import os
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from datetime import timedelta

import structlog

from app.bootstrap.execution import Execution
from app.errors import OrchestratorError
from app.ids import is_id
from app.jobs.models import DEFAULT_PRIORITY
from app.jobs.runner import Stop
from app.jobs.workers import WorkerIdentity
from worker.event_loop import EventLoopThread

log = structlog.get_logger(__name__)

EXIT_LOOP_DEAD = 70
SLOT_PATIENCE = 0.5
RELEASE_PATIENCE = 2.0
CANCEL_POLL = timedelta(milliseconds=500)
CLOCK_POLL = timedelta(seconds=10)


class WorkerProcess:
    """Takes ids from Celery's threads and runs the jobs on the event loop, a bounded number at a time."""

    def __init__(
        self,
        execution: Execution,
        events: EventLoopThread,
        *,
        identify: Callable[[], WorkerIdentity],
        slots: int,
        grace: timedelta,
    ) -> None:
        self._execution = execution
        self._heartbeat = execution.create_heartbeat(
            identify, in_flight=lambda: len(self._jobs), on_lost=self._fence, watch=self._watch
        )
        self._events = events
        self._slots = threading.BoundedSemaphore(slots)
        self._grace = grace
        self._draining = threading.Event()
        self._drain_by = 0.0
        self._jobs: set[Future[None]] = set()
        self._background: list[Future[None]] = []

    def start(self) -> None:
        """Register the worker; from here on it may claim."""
        self._heartbeat.start()
        self._background = [
            self._events.submit(self._heed_cancel_requests()),
            self._events.submit(self._keep_clock()),
            self._events.submit(self._execution.upkeep.run_for_ever()),
        ]

    def accept(self, job_id: str) -> None:
        """Hand the job to the event loop; blocks while every slot is taken, which is the back-pressure."""
        if not is_id(job_id):
            log.warning("worker.refused_id")
            return
        while not self._slots.acquire(timeout=SLOT_PATIENCE):
            if self._draining.is_set():
                self._leave_to_others(job_id)
                return
        worker_id = self._heartbeat.worker_id
        if self._draining.is_set() or worker_id is None:
            self._slots.release()
            self._leave_to_others(job_id)
            return
        job = self._events.submit(self._run(job_id, worker_id))
        self._jobs.add(job)
        job.add_done_callback(self._free_slot)

    def _leave_to_others(self, job_id: str) -> None:
        # Not claimed, so nothing is lost. Ringing again spares the job the wait for the sweep; not so while this
        # worker goes on consuming without a lease, when it would only hear its own ring again and again.
        if self._draining.is_set():
            self._execution.core.doorbell.ring(job_id, DEFAULT_PRIORITY)

    def stop_claiming(self) -> None:
        """From now on every message is left for another worker; called as soon as the process is told to stop."""
        self._draining.set()
        self._drain_by = time.monotonic() + self._grace.total_seconds()
        log.info("worker.draining", in_flight=len(self._jobs))

    def drain(self) -> None:
        """Let running jobs finish for the grace period, then hand the rest back uncharged."""
        for task in self._background:
            task.cancel()
        self._events.run(self._finish_or_release(), patience=self._grace.total_seconds() + 10)
        # Only now: while jobs run they must not be taken for a dead worker's.
        self._heartbeat.stop()
        self._events.run(self._execution.close())

    def _watch(self) -> None:
        """End the process when the event loop died or stands still: another will do better."""
        lag = self._events.measure_lag()
        if not self._events.is_alive or lag > self._execution.lease.total_seconds():
            log.critical("worker.event_loop_stopped", lag_seconds=round(lag, 1))
            os._exit(EXIT_LOOP_DEAD)

    def _fence(self, worker_id: str) -> None:
        """Stop whatever was claimed under a lease that ran out; called from the heartbeat's thread."""
        self._events.loop.call_soon_threadsafe(self._execution.runner.fence, worker_id)

    async def _run(self, job_id: str, worker_id: str) -> None:
        try:
            await self._execution.runner.run(job_id, worker=worker_id)
        except OrchestratorError as error:
            # The claim failed; the job stays queued and is rung again.
            log.warning("job.not_run", task_id=job_id, error_type=error.code)
        except Exception:  # the edge of the worker: one job's defect must not cost the others
            log.exception("job.run_crashed", task_id=job_id)

    def _free_slot(self, job: "Future[None]") -> None:
        self._jobs.discard(job)
        self._slots.release()

    async def _heed_cancel_requests(self) -> None:
        runner = self._execution.runner
        while True:
            await asyncio.sleep(CANCEL_POLL.total_seconds())
            worker_id = self._heartbeat.worker_id
            if not runner.running or worker_id is None:
                continue
            try:
                requested = await self._execution.recovery.list_cancel_requests(worker_id)
            except OrchestratorError as error:
                log.debug("worker.cancel_requests_unknown", error_type=error.code)
                continue
            for job_id in requested:
                if job := runner.running.get(job_id):
                    job.stop(Stop.CANCEL_REQUESTED)

    async def _keep_clock(self) -> None:
        while True:
            await asyncio.sleep(CLOCK_POLL.total_seconds())
            await self._execution.synchronise_clock()

    async def _finish_or_release(self) -> None:
        await self._wait_until_idle(self._drain_by)
        for job in list(self._execution.runner.running.values()):
            job.stop(Stop.DRAINING)
        await self._wait_until_idle(time.monotonic() + RELEASE_PATIENCE)

    async def _wait_until_idle(self, until: float) -> None:
        if running := [asyncio.wrap_future(job) for job in self._jobs]:
            await asyncio.wait(running, timeout=max(until - time.monotonic(), 0))
