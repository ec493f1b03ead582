"""Runs one job: claim, hand to the handler, settle. The edge at which a handler's failures become outcomes."""

import asyncio
import random
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from enum import StrEnum

import structlog

from app.clock import Clock
from app.database.documents import Document
from app.errors import AttemptTimeout, DeadlineExceeded, ExecutionError, LeaseLost, OrchestratorError, Unavailable
from app.jobs.models import Job, Reason
from app.jobs.outcomes import Cancelled, Outcome, RetryAt
from app.jobs.retry import Backoff, decide_after_error
from app.jobs.store import JobStore
from app.jobs.transitions import Evidence
from app.observability.context import bound

log = structlog.get_logger(__name__)

STOP_PATIENCE = timedelta(seconds=1)
SETTLE_PAUSE = timedelta(milliseconds=200)


class Stop(StrEnum):
    """Why a running attempt is told to stop."""

    CANCEL_REQUESTED = "cancel_requested"
    DRAINING = "draining"
    LEASE_LOST = "lease_lost"


class Attempt:
    """One attempt at one job, as its handler sees it."""

    def __init__(self, job: Job, store: JobStore) -> None:
        self.job = job
        self.evidence = Evidence()
        self._store = store

    async def save(self, fields: Document) -> None:
        """Keep an intermediate result under the lease; raises `LeaseLost`."""
        await self._store.save(self.job, fields)


Handler = Callable[[Attempt], Awaitable[Outcome]]


class RunningJob:
    """An attempt in progress that can be stopped from outside."""

    def __init__(self, attempt: Attempt, work: asyncio.Task[Outcome]) -> None:
        self.attempt = attempt
        self.stopped: Stop | None = None
        self._work = work

    def stop(self, why: Stop) -> None:
        """Cancel the handler's coroutine. A lost lease outranks every other reason: nothing may be written then."""
        if self.stopped is None or why is Stop.LEASE_LOST:
            self.stopped = why
        self._work.cancel()


def _holder(job: Job) -> str | None:
    return job.lease.worker if job.lease else None


class JobRunner:
    """Runs the jobs of one collection in one worker process."""

    def __init__(
        self,
        store: JobStore,
        handler: Handler,
        *,
        backoff: Backoff,
        attempt_timeout: timedelta,
        lease: timedelta,
        clock: Clock,
        on_claimed: Callable[[Job], None],
        on_settled: Callable[[Job, Outcome], None],
    ) -> None:
        self._store = store
        self._handler = handler
        self._backoff = backoff
        self._attempt_timeout = attempt_timeout
        self._lease = lease
        self._clock = clock
        self._on_claimed = on_claimed
        self._on_settled = on_settled
        self.running: dict[str, RunningJob] = {}
        self._fenced: set[str] = set()

    def fence(self, worker: str) -> None:
        """Stop everything that ``worker`` claimed and claims from now on: its lease ran out."""
        self._fenced.add(worker)
        for running in list(self.running.values()):
            if _holder(running.attempt.job) == worker:
                running.stop(Stop.LEASE_LOST)

    async def run(self, job_id: str, *, worker: str) -> None:
        """Do one attempt at the job if it is there to be claimed."""
        job = await self._store.claim(job_id, worker=worker)
        if job is None:
            log.debug("job.nothing_to_claim", task_id=job_id)
            return
        if worker in self._fenced:
            # The claim was on its way when the lease ran out; the sweep gives the job to somebody else.
            log.warning("job.claimed_too_late", task_id=job_id)
            return
        with bound(task_id=job.id, tenant_id=job.tenant_id, trace_id=job.trace_id):
            await self._run_or_cancel(job)

    async def _run_or_cancel(self, job: Job) -> None:
        self._on_claimed(job)
        if job.cancel_requested_at is not None:
            await self._store.settle(job, Cancelled(), Evidence())
            self._on_settled(job, Cancelled())
            return
        await self._run_claimed(job)

    async def _run_claimed(self, job: Job) -> None:
        attempt = Attempt(job, self._store)
        work = asyncio.ensure_future(self._handler(attempt))
        running = self.running[job.id] = RunningJob(attempt, work)
        try:
            outcome = await self._await_outcome(running, work)
            if outcome is not None:
                await self._settle(running, outcome)
        finally:
            del self.running[job.id]

    async def _await_outcome(self, running: RunningJob, work: asyncio.Task[Outcome]) -> Outcome | None:
        """The attempt's outcome; None when its lease is lost and nothing may be written."""
        job = running.attempt.job
        limit = min(self._attempt_timeout, self._remaining(job))
        done, _ = await asyncio.wait({work}, timeout=max(limit.total_seconds(), 0))
        if not done and running.stopped is None:
            work.cancel()
            await asyncio.wait({work}, timeout=STOP_PATIENCE.total_seconds())
            return self._decide(job, self._timeout_error(job))
        if not done:
            await asyncio.wait({work}, timeout=STOP_PATIENCE.total_seconds())
        return self._read(running, work)

    def _read(self, running: RunningJob, work: asyncio.Task[Outcome]) -> Outcome | None:
        job = running.attempt.job
        if running.stopped is not None and (not work.done() or work.cancelled()):
            return self._decide_stopped(running.stopped)
        error = work.exception()
        if error is None:
            return work.result()
        if isinstance(error, LeaseLost) or running.stopped is Stop.LEASE_LOST:
            log.warning("job.lease_lost")
            return None
        return self._decide(job, self._as_known(job, error))

    def _decide_stopped(self, why: Stop) -> Outcome | None:
        match why:
            case Stop.CANCEL_REQUESTED:
                return Cancelled()
            case Stop.DRAINING:
                return RetryAt(self._clock(), reason=Reason.WORKER_DRAINING, charged=False)
            case Stop.LEASE_LOST:
                return None

    def _decide(self, job: Job, error: OrchestratorError) -> Outcome:
        return decide_after_error(
            job,
            error,
            backoff=self._backoff,
            now=self._clock(),
            jitter=random.random(),  # noqa: S311 - spreads load, guards nothing
        )

    def _remaining(self, job: Job) -> timedelta:
        return job.deadline_at - self._clock() if job.deadline_at else timedelta.max

    def _timeout_error(self, job: Job) -> ExecutionError:
        if job.deadline_at is not None and self._clock() >= job.deadline_at:
            return DeadlineExceeded("the deadline passed before the work was done")
        return AttemptTimeout(f"attempt {job.attempt} took longer than {self._attempt_timeout.total_seconds():g} s")

    def _as_known(self, job: Job, error: BaseException) -> OrchestratorError:
        if isinstance(error, OrchestratorError):
            log.warning("job.attempt_failed", error_type=error.code, attempt=job.attempt)
            return error
        # An unforeseen exception is our defect; its text may hold a prompt, so only its kind is told.
        log.error("job.handler_crashed", exc_info=error)
        return ExecutionError(f"the handler failed unexpectedly ({type(error).__name__})")

    async def _settle(self, running: RunningJob, outcome: Outcome) -> None:
        attempt = running.attempt
        give_up_at = self._clock() + self._lease
        while True:
            try:
                await self._store.settle(attempt.job, outcome, attempt.evidence)
            except LeaseLost:
                log.warning("job.outcome_refused", outcome=type(outcome).__name__)
                return
            except Unavailable:
                if running.stopped is Stop.LEASE_LOST or self._must_give_up(give_up_at):
                    log.warning("job.outcome_not_written")
                    return
                await asyncio.sleep(SETTLE_PAUSE.total_seconds())
                continue
            self._on_settled(attempt.job, outcome)
            return

    def _must_give_up(self, at: datetime) -> bool:
        # Past the lease somebody else owns the job; the write would be refused anyway.
        return self._clock() >= at
