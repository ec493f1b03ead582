"""What a worker does for a message about an execution or a step, and how one leads to the next without another."""

from contextvars import ContextVar

from app.events.signals import Signals
from app.jobs.models import Job
from app.jobs.outcomes import Outcome, final_status
from app.jobs.runner import JobRunner
from app.jobs.slots import Slots
from app.jobs.store import JobStore
from app.workflows.executions.driver import Driver
from app.workflows.executions.waking import Waker, attention_of

# Steps that ended while a message was worked on, and that no driver in this process had begun.
_ended: ContextVar[list[Job] | None] = ContextVar("ended_steps", default=None)
REQUEST = "step_ended"


class ExecutionRunner:
    """Drives executions for messages, and as long as there is news of them when they were put aside."""

    def __init__(
        self, driver: Driver, runner: JobRunner, store: JobStore, slots: Slots, waker: Waker, signals: Signals
    ) -> None:
        self._driver = driver
        self._runner = runner
        self._store = store
        self._slots = slots
        self._waker = waker
        self._signals = signals

    async def run(self, execution_id: str, *, worker: str) -> None:
        """Do what a message says."""
        driven = await self._runner.run(execution_id, worker=worker)
        if driven is not None and await self._driver.has_news(driven.id):
            await self._drive_here(driven.id, worker)

    async def go_on(self, tenant_id: str, execution_id: str) -> None:
        """Have the execution driven on, here if that can be: one of its steps ended."""
        if self._driver.is_driving(execution_id):
            return
        worker = self._slots.holder()
        if worker is None:
            await self._waker.wake(tenant_id, execution_id, request=REQUEST)
        elif not await self._drive_here(execution_id, worker):
            self._signals.notify(attention_of(execution_id))

    async def _drive_here(self, execution_id: str, worker: str) -> bool:
        """False when somebody drives it, or it has ended."""
        driven = False
        while (job := await self._store.claim_suspended(execution_id, worker=worker)) is not None:
            driven = True
            await self._runner.run_held(job)
            if not await self._driver.has_news(execution_id):
                break
        return driven


class StepRunner:
    """Does steps for messages; whoever ends one drives its execution on, in the place that the step had."""

    def __init__(self, runner: JobRunner, executions: ExecutionRunner) -> None:
        self._runner = runner
        self._executions = executions

    async def run(self, step_id: str, *, worker: str) -> None:
        """Do what a message says."""
        ended: list[Job] = []
        mark = _ended.set(ended)
        try:
            await self._runner.run(step_id, worker=worker)
        finally:
            _ended.reset(mark)
        for job in ended:
            await self._executions.go_on(job.tenant_id, job.document["execution_id"])


def note_ended(job: Job, outcome: Outcome) -> None:
    """After the write that ended an attempt at a step."""
    ended = _ended.get()
    if ended is not None and final_status(outcome) is not None:
        ended.append(job)
