"""Runs one job: claim, hand to the handler, settle. The edge at which a handler's failures become outcomes."""

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial
from typing import Any

import structlog

from app.cancellation import stop
from app.clock import Clock
from app.database.documents import Document
from app.errors import (
    AttemptTimeout,
    DeadlineExceeded,
    ExecutionError,
    LeaseLost,
    NotAsked,
    OrchestratorError,
    Unavailable,
)
from app.jobs.dispatch import Dispatcher, NotAdmitted, Taken
from app.jobs.lanes import Stage
from app.jobs.models import Job, JobError
from app.jobs.outcomes import Deferred, Failed, Outcome, Stop, outcome_of_stop
from app.jobs.retry import RetryPolicy, decide_after_error, decide_on_start
from app.jobs.store import JobStore
from app.jobs.transitions import Evidence
from app.observability.context import bound

log = structlog.get_logger(__name__)

STOP_PATIENCE = timedelta(seconds=1)
SETTLE_PAUSE = timedelta(milliseconds=200)


class Attempt:
    """One attempt at one job, as its handler sees it."""

    def __init__(self, taken: Taken, store: JobStore, dispatcher: Dispatcher, policy: RetryPolicy) -> None:
        """``policy`` may be replaced by the handler, once it knows more."""
        self.job = taken.job
        self.policy = policy
        self.evidence = Evidence()
        self.permits = list(taken.permits)
        self._store = store
        self._dispatcher = dispatcher

    async def enter(self, agent: str) -> None:
        """Take a place among those that may run this agent at the same time; raises `NotAdmitted` when all are taken.

        The handler lets it pass: what the attempt saved is kept, and the next one is not charged.
        """
        permit = await self._dispatcher.admit(self.job, agent, held=self.permits)
        if permit is not None:
            self.permits.append(permit)

    async def save(self, fields: Document) -> None:
        """Keep an intermediate result under the lease; raises `LeaseLost`."""
        await self._store.save(self.job, fields)


Handler = Callable[[Attempt], Awaitable[Outcome]]
Work = asyncio.Future[Outcome]


class RunningJob:
    """An attempt in progress that can be stopped from outside."""

    def __init__(self, attempt: Attempt, work: Work) -> None:
        self.attempt = attempt
        self.stopped: Stop | None = None
        self.told: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._work = work

    @property
    def job(self) -> Job:
        return self.attempt.job

    def stop(self, why: Stop) -> None:
        """Cancel the handler's coroutine. A lost lease outranks every other reason: nothing may be written then."""
        if self.stopped is None or why is Stop.LEASE_LOST:
            self.stopped = why
        if not self.told.done():
            self.told.set_result(None)
        self._work.cancel()


class JobRunner:
    """Runs the jobs of one collection in one worker process. All its methods belong to the event loop."""

    def __init__(
        self,
        store: JobStore,
        dispatcher: Dispatcher,
        handler: Handler,
        *,
        policy_of: Callable[[Job], RetryPolicy],
        attempt_timeout: timedelta,
        lease: timedelta,
        clock: Clock,
        on_claimed: Callable[[Job], None],
        on_settled: Callable[[Job, Outcome], None],
    ) -> None:
        self._store = store
        self._dispatcher = dispatcher
        self._handler = handler
        self._policy_of = policy_of
        self._attempt_timeout = attempt_timeout
        self._lease = lease
        self._clock = clock
        self._on_claimed = on_claimed
        self._on_settled = on_settled
        self._running: dict[str, RunningJob] = {}
        self._fenced: set[str] = set()
        self._seeks_suspect = asyncio.Lock()
        self._closing = False

    @property
    def is_idle(self) -> bool:
        return not self._running

    def is_running(self, job: Job) -> bool:
        """Whether this very attempt is in progress here."""
        running = self._running.get(job.id)
        return running is not None and running.job.lease == job.lease

    def fence(self, worker: str) -> None:
        """Stop everything that ``worker`` claimed and claims from now on: its lease ran out."""
        self._fenced.add(worker)
        for running in list(self._running.values()):
            if _holder(running.job) == worker:
                running.stop(Stop.LEASE_LOST)

    def cancel(self, job_id: str) -> None:
        """Stop the job because somebody asked for it; nothing happens when it does not run here."""
        if running := self._running.get(job_id):
            running.stop(Stop.CANCEL_REQUESTED)

    def stop_all(self) -> None:
        """Hand everything back, also what is being claimed at this moment."""
        self._closing = True
        for running in list(self._running.values()):
            running.stop(Stop.DRAINING)

    async def run(self, job_id: str, *, worker: str, stage: Stage | None = None) -> Job | None:
        """Do one attempt at the job, or at one that is to be started before it, if there is any; answers which.

        The message may have been about a ``stage`` of the work; then only jobs that are at it are done.
        """
        if worker in self._fenced:
            return None
        taken = await self._take(job_id, worker, stage)
        if taken is None:
            log.debug("job.nothing_to_claim", task_id=job_id)
            return None
        await self._attend(taken)
        return taken.job

    async def run_held(self, job: Job) -> None:
        """Do one attempt at a job that this process has claimed already."""
        await self._attend(Taken(job))

    async def _attend(self, taken: Taken) -> None:
        job = taken.job
        if _holder(job) in self._fenced or self._is_outdated(job):
            # The claim was on its way when the lease ran out; the sweep gives the job to somebody else.
            log.warning("job.claimed_too_late", task_id=job.id)
            return
        with bound(task_id=job.id, tenant_id=job.tenant_id, trace_id=job.trace_id):
            self._on_claimed(job)
            attempt = Attempt(taken, self._store, self._dispatcher, self._policy_of(job))
            try:
                await self._run_claimed(attempt)
            finally:
                await self._dispatcher.give_back(job, attempt.permits)

    async def _take(self, job_id: str, worker: str, stage: Stage | None) -> Taken | None:
        take, taken = partial(self._dispatcher.take, job_id, worker=worker, stage=stage), None
        if self._seeks_suspect.locked() or self._runs_suspect():
            taken = await take(may_run_alone=False)
        if taken is None and not self._runs_suspect():
            # One at a time may look for a suspect, so that two are never started beside each other.
            async with self._seeks_suspect:
                taken = await take(may_run_alone=not self._runs_suspect())
        return taken

    def _runs_suspect(self) -> bool:
        return any(one.job.alone for one in self._running.values())

    def _is_outdated(self, job: Job) -> bool:
        """Whether the process stood still between the claim and this moment for as long as a lease lasts."""
        claimed_at: datetime | None = job.document.get("started_at")
        return claimed_at is not None and self._clock() - claimed_at > self._lease

    async def _run_claimed(self, attempt: Attempt) -> None:
        job = attempt.job
        work = asyncio.ensure_future(self._handle(attempt))
        # Whatever an abandoned handler ends with, it is of no interest to anybody.
        work.add_done_callback(lambda done: done.cancelled() or done.exception())
        running = self._running[job.id] = RunningJob(attempt, work)
        self._stop_at_once_if_told(running)
        try:
            outcome = await self._await_outcome(running, work)
            if outcome is not None:
                await self._settle(running, outcome)
        finally:
            # A later attempt at the same job may have taken the place of one that was slow to stop.
            if self._running.get(job.id) is running:
                del self._running[job.id]

    async def _handle(self, attempt: Attempt) -> Outcome:
        too_late = decide_on_start(attempt.job, policy=attempt.policy, now=self._clock())
        return too_late or await self._handler(attempt)

    def _stop_at_once_if_told(self, running: RunningJob) -> None:
        if running.job.cancel_requested_at is not None:
            running.stop(Stop.CANCEL_REQUESTED)
        elif self._closing:
            running.stop(Stop.DRAINING)

    async def _await_outcome(self, running: RunningJob, work: Work) -> Outcome | None:
        """The attempt's outcome; None when its lease is lost and nothing may be written."""
        limit = self._attempt_timeout
        if running.job.deadline_at is not None:
            limit = min(limit, running.job.deadline_at - self._clock())
        either: set[asyncio.Future[Any]] = {work, running.told}
        await asyncio.wait(either, timeout=max(limit.total_seconds(), 0), return_when=asyncio.FIRST_COMPLETED)
        timed_out = not work.done() and running.stopped is None
        if not work.done():
            await stop(work, patience=STOP_PATIENCE)
        return self._conclude(running, work, timed_out=timed_out)

    def _conclude(self, running: RunningJob, work: Work, *, timed_out: bool) -> Outcome | None:
        ended = work.done() and not work.cancelled()
        if running.stopped is Stop.LEASE_LOST or (ended and isinstance(work.exception(), LeaseLost)):
            log.warning("job.lease_lost")
            return None
        if ended and work.exception() is None:
            return work.result()
        if ended and isinstance(refused := work.exception(), NotAdmitted):
            return Deferred(refused.permit, running.job.tenant_id)
        if running.stopped is not None:
            return outcome_of_stop(running.stopped, now=self._clock())
        if timed_out:
            return self._decide(running.attempt, self._timeout_error(running.job))
        error = work.exception() if ended else ExecutionError("the handler gave up without an outcome")
        return self._decide(running.attempt, _as_known(error, attempt=running.job.attempt))

    def _decide(self, attempt: Attempt, error: OrchestratorError) -> Outcome:
        return decide_after_error(
            attempt.job,
            error,
            policy=attempt.policy,
            now=self._clock(),
            jitter=random.random(),  # noqa: S311 - spreads load, guards nothing
        )

    def _timeout_error(self, job: Job) -> ExecutionError:
        if job.deadline_at is not None and self._clock() >= job.deadline_at:
            return DeadlineExceeded("the deadline passed before the work was done")
        return AttemptTimeout(f"attempt {job.attempt} took longer than {self._attempt_timeout.total_seconds():g} s")

    async def _settle(self, running: RunningJob, outcome: Outcome) -> None:
        evidence = running.attempt.evidence
        try:
            written = await self._write(running, outcome, evidence)
        except Exception as error:  # whatever the store cannot hold must not leave the job without an end
            log.exception("job.outcome_refused_by_store")
            reason = f"the outcome could not be stored ({type(error).__name__})"
            outcome = Failed(JobError(type=ExecutionError.code, message=reason))
            written = await self._write_without(running, outcome, evidence)
        if written:
            self._on_settled(running.job, outcome)
            if isinstance(outcome, Deferred):
                # Given back before the job was put aside, the permit would have found nobody who waits for it.
                await self._dispatcher.start_waiting(outcome.permit)

    async def _write_without(self, running: RunningJob, outcome: Outcome, evidence: Evidence) -> bool:
        """Without what was appended, since that grows; without any evidence if even that is refused."""
        try:
            return await self._write(running, outcome, replace(evidence, appended={}))
        except Exception:  # the store refused what is left as well
            log.exception("job.evidence_refused_by_store")
            return await self._write(running, outcome, Evidence())

    async def _write(self, running: RunningJob, outcome: Outcome, evidence: Evidence) -> bool:
        give_up_at = self._clock() + self._lease
        while running.stopped is not Stop.LEASE_LOST and self._clock() < give_up_at:
            try:
                await self._store.settle(running.job, outcome, evidence)
            except LeaseLost:
                log.warning("job.outcome_refused", outcome=type(outcome).__name__)
                return False
            except Unavailable:
                await asyncio.sleep(SETTLE_PAUSE.total_seconds())
            else:
                return True
        log.warning("job.outcome_not_written")
        return False


def _holder(job: Job) -> str | None:
    return job.lease.worker if job.lease else None


def _as_known(error: BaseException | None, *, attempt: int) -> OrchestratorError:
    if isinstance(error, OrchestratorError):
        # While a provider is not asked every job is refused again and again; who refuses has logged why.
        level = logging.DEBUG if isinstance(error, NotAsked) else logging.WARNING
        log.log(level, "job.attempt_failed", error_type=error.code, attempt=attempt)
        return error
    # An unforeseen exception is our defect; its text may hold a prompt, so only its kind is told.
    log.error("job.handler_crashed", exc_info=error)
    return ExecutionError(f"the handler failed unexpectedly ({type(error).__name__})")
