"""Has the steps of an execution carried out that may start: here when there is room, else wherever there is."""

import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from datetime import datetime

from app.agents.registry import Registry
from app.clock import Clock
from app.database.errors import StoreFailure
from app.errors import OrchestratorError
from app.jobs.models import Job
from app.jobs.slots import Slots
from app.workflows.executions.drive import Drive
from app.workflows.executions.hearing import Hearing
from app.workflows.executions.journal import Instance, Journal
from app.workflows.executions.models import Waits, step_id
from app.workflows.executions.rendering import Rendered, inline_output, is_inline, rendered
from app.workflows.executions.values import ValueTooLarge, check_size
from app.workflows.handover import checked_output
from app.workflows.language.models import ApprovalSpec
from app.workflows.places import cases_of
from app.workflows.planner import End
from app.workflows.run import Execute
from app.workflows.steps.retrying import retries_of
from app.workflows.view import Ended, Values, failed

# Of one execution that begin or end at the same time in this process.
MOST_TASKS = 500
# In seconds: far less than any lease.
LONG_WRITE = 0.5
# A worker may be lost more often than a step may fail.
FEWEST_ATTEMPTS = 3


@dataclass(frozen=True, slots=True)
class Means:
    """``run_held`` does an attempt at a step that was claimed here, ``ring`` has somebody claim one, ``remind`` does
    so at its time. ``deliver`` brings events that came before somebody waited for them; how many there were. ``ask``
    has people know that a step is going to wait for them; what it waits for then."""

    expressions: Values
    registry: Registry
    slots: Slots
    run_held: Callable[[Job], Awaitable[None]]
    ring: Callable[[str], None]
    remind: Callable[[Job, datetime], None]
    deliver: Callable[[str, str], Awaitable[int]]
    clock: Clock
    ask: Callable[[Job, Execute, ApprovalSpec, Rendered], Awaitable[Rendered]]
    # Where tenants may have so many jobs at a time only, claims are the dispatcher's.
    claims_itself: bool = True


class Starter:
    def __init__(self, journal: Journal, hearing: Hearing, means: Means) -> None:
        self._journal = journal
        self._hearing = hearing
        self._means = means

    def start(self, drive: Drive) -> None:
        """Begin with as much as there is room for; what goes elsewhere is rung for."""
        while drive.light and len(drive.tasks) < MOST_TASKS:
            drive.spawn(self._settle_light(drive, drive.light.popleft()))
        while drive.work and len(drive.tasks) < MOST_TASKS and (worker := self._take_room(drive)):
            is_lent, drive.is_lent = not drive.is_lent, True
            drive.spawn(self._here(drive, drive.work.popleft(), worker, is_lent=is_lent))
        share = drive.pace.to_share(len(drive.work), time.monotonic()) if self._shares_in_time else len(drive.work)
        for _ in range(min(share, len(drive.work), MOST_TASKS)):
            drive.spawn(self._elsewhere(drive, drive.work.popleft()))

    @property
    def _shares_in_time(self) -> bool:
        """Whether this worker begins steps by itself."""
        return self._means.claims_itself and self._means.slots.holder() is not None

    def _take_room(self, drive: Drive) -> str | None:
        """The worker to claim under, with a slot taken; the driver's own is lent to one step at a time."""
        worker = self._means.slots.holder() if self._means.claims_itself else None
        if worker is None or (drive.is_lent and not self._means.slots.try_acquire()):
            return None
        return worker

    async def _here(self, drive: Drive, execute: Execute, worker: str, *, is_lent: bool) -> None:
        try:
            asked_at = time.monotonic()
            job = await self._hand_out(drive, execute, worker)
            if job is None:
                return
            if time.monotonic() - asked_at > LONG_WRITE:
                # The process may have stood still meanwhile, and others have done the step.
                await drive.confirm()
            drive.local[job.id] = execute.path
            if execute.path in drive.to_stop:
                # Cancelled while it was being stored.
                job = replace(job, cancel_requested_at=self._means.clock())
            try:
                await self._means.run_held(job)
            finally:
                del drive.local[job.id]
                drive.pace.ended()
            await self._hearing.hear_local(drive, job, execute)
        finally:
            if is_lent:
                drive.is_lent = False
            else:
                self._means.slots.release()

    async def _elsewhere(self, drive: Drive, execute: Execute) -> None:
        job = await self._hand_out(drive, execute, None)
        if job is not None:
            drive.away[execute.path] = None
            self._means.ring(job.id)

    async def _hand_out(self, drive: Drive, execute: Execute, worker: str | None) -> Job | None:
        """The stored instance; None when there is nothing to do here: it failed, or was handed out before."""
        now = self._means.clock()
        try:
            content = rendered(execute, self._means.expressions, now)
            instance = self._instance(drive, execute, now)
        except OrchestratorError as error:
            await self._end_at_once(drive, execute, failed(error))
            return None
        drive.known.add(execute.path)
        drive.note_begun(execute.path, now)
        try:
            if execute.step.approval is not None:
                content = await self._means.ask(drive.execution, execute, execute.step.approval, content)
            job = await self._journal.hand_out(drive.execution, instance, content, worker=worker)
        except (StoreFailure, ValueTooLarge) as error:
            # What no document can hold, as too long a question to an approver, is this step's failure alone.
            await self._end_at_once(drive, execute, failed(error))
            return None
        if job is None:
            # Its end may have been heard by a driver before this one.
            drive.watched.add(step_id(drive.execution.id, drive.execution.document["series"], execute.path))
            drive.away[execute.path] = _waits(content)
            drive.must_look = True
        return job

    async def _settle_light(self, drive: Drive, execute: Execute) -> None:
        if is_inline(execute.step):
            await self._end_at_once(drive, execute, self._computed(execute))
            if execute.step.emit is not None:
                drive.note("emitted", self._means.clock(), name=execute.step.emit, path=execute.path)
            return
        now = self._means.clock()
        job = await self._hand_out(drive, execute, None)
        if job is None:
            return
        waits_for = job.document["waits_for"]
        drive.away[execute.path] = waits = Waits(waits_for["what"])
        if waits is Waits.EVENT and await self._means.deliver(drive.execution.tenant_id, drive.execution.id):
            drive.must_look = True
        elif waits_for["until"] is not None and waits_for["until"] <= now:
            self._means.ring(job.id)
        elif waits_for["until"] is not None:
            self._means.remind(job, waits_for["until"])

    def _computed(self, execute: Execute) -> Ended:
        try:
            output = inline_output(execute.step, self._means.expressions, execute)
            check_size(output)
        except OrchestratorError as error:
            return failed(error)
        return checked_output(execute.step, Ended(End.SUCCEEDED, output))

    async def _end_at_once(self, drive: Drive, execute: Execute, ended: Ended) -> None:
        ended = await self._hearing.with_artifacts(drive, execute, ended)
        instance = Instance(execute.path, execute.step.kind, drive.take_seq(), cases=cases_of(execute))
        drive.known.add(execute.path)
        await self._journal.note(drive.execution, instance, replace(ended, attempts=1), drive.take_seq())
        await self._hearing.keep_artifacts(drive, execute.path)
        drive.tell(execute.path, ended)

    def _instance(self, drive: Drive, execute: Execute, now: datetime) -> Instance:
        """Raises `AgentNotFound`."""
        step = execute.step
        agent = None
        if step.agent is not None:
            agent = (self._means.registry.find_agent(step.agent) or self._means.registry.get_agent(step.agent)).name
        return Instance(
            execute.path,
            step.kind,
            drive.take_seq(),
            max_attempts=max(retries_of(step, execute.workflow.defaults).max_attempts, FEWEST_ATTEMPTS),
            deadline_at=_deadline(drive, execute, now),
            agent=agent,
            cases=cases_of(execute),
        )


def _deadline(drive: Drive, execute: Execute, now: datetime) -> datetime | None:
    """The end of the first limit of the steps around: it counts from when they began."""
    limits = []
    for path, around in execute.around:
        if around is not execute.step and around.timeout is not None:
            if path not in drive.limits:
                drive.limits[path] = drive.begun.get(path, now) + around.timeout
            limits.append(drive.limits[path])
    return min(limits, default=None)


def _waits(content: Rendered) -> Waits | None:
    return Waits(content.waits_for["what"]) if content.waits_for else None
