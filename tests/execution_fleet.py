"""Processes that drive executions over a store in memory, with steps whose outcomes are given, and that may die."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from random import Random
from typing import Any

from app.agents.registry import Registry
from app.agents.specs import AgentSpec
from app.artifacts.store import ArtifactStore
from app.bootstrap.driving import LONGEST, OF_EXECUTIONS
from app.database.documents import Database, Documents
from app.events.signals import Signals
from app.jobs.dispatch import Dispatcher
from app.jobs.grouped import GroupedWrites
from app.jobs.limits import Limits
from app.jobs.models import FINAL, Job, JobError, Reason, Status
from app.jobs.outcomes import Failed, Finished, Outcome, RetryAt
from app.jobs.parking import Parking
from app.jobs.permits import Permits
from app.jobs.queue import JobQueue
from app.jobs.recovery import Recovery
from app.jobs.runner import Attempt, Handler, JobRunner
from app.jobs.slots import Slots
from app.jobs.store import JobStore
from app.llm.usage import ModelRole
from app.workflows.executions.driver import Driver, Parts
from app.workflows.executions.hearing import Hearing
from app.workflows.executions.journal import Journal
from app.workflows.executions.models import EXECUTIONS, STEPS
from app.workflows.executions.opening import Opener
from app.workflows.executions.rendering import Rendered
from app.workflows.executions.running import ExecutionRunner, StepRunner, note_ended
from app.workflows.executions.starting import Means, Starter
from app.workflows.executions.upkeep import PATIENCE, ExecutionUpkeep
from app.workflows.executions.values import ValueStore, values_place_of
from app.workflows.executions.waking import Waker
from app.workflows.language.models import ApprovalSpec
from app.workflows.plan import Plan
from app.workflows.run import Execute
from app.workflows.view import Values
from tests.job_builders import LEASE, REDISPATCH, FakeClock, a_policy

SLOTS = 2
# Of each attempt that ends.
COST = {"usd": 0.25, "prompt_tokens": 3, "completion_tokens": 2, "tokens": 5, "model_calls": 1}
# The output, and why the step failed if it did.
Work = Callable[[str, Any], tuple[Any, JobError | None]]


@dataclass(slots=True)
class OnePlan:
    """The only workflow there is."""

    plan: Plan

    async def get(self, tenant_id: str, name: str, digest: str) -> Plan:
        return self.plan


class Anybody(Registry):
    """Every name is an agent's."""

    def __init__(self) -> None:
        super().__init__(())

    def find_agent(self, name: str) -> AgentSpec | None:
        return AgentSpec(name, name, name, examples=(), model_role=ModelRole.CONTENT, factory="nobody:at_all")


@dataclass
class Fleet:
    """``work`` says how a step ends, by its path and what it is given."""

    database: Database
    plan: Plan
    values: Values
    work: Work
    random: Random
    artifacts: Path
    clock: FakeClock = field(default_factory=FakeClock)
    begun: Counter[str] = field(default_factory=Counter)
    interrupted: Counter[str] = field(default_factory=Counter)
    processes: "list[Process]" = field(default_factory=list)
    made: int = 0

    def __post_init__(self) -> None:
        for _ in range(2):
            self.add_process()

    @property
    def executions(self) -> Documents:
        return Documents(self.database[EXECUTIONS])

    @property
    def steps(self) -> Documents:
        return Documents(self.database[STEPS])

    def add_process(self) -> None:
        self.made += 1
        self.processes.append(Process(self, f"w{self.made}"))

    async def kill(self, process: "Process") -> None:
        """It stops without a word, and what it held is given back as the sweep does it."""
        self.processes.remove(process)
        process.slots.identify_by(lambda: None)
        process.executions.fence(process.name)
        process.steps.fence(process.name)
        await asyncio.gather(*process.tasks, return_exceptions=True)
        for kind, documents in ((EXECUTIONS, self.executions), (STEPS, self.steps)):
            recovery = Recovery(documents, clock=self.clock, redispatch=REDISPATCH)
            for job in await recovery.list_held_by([process.name]):
                if kind == STEPS:
                    self.interrupted[job.document["path"]] += 1
                await recovery.release(job, RetryAt(self.clock(), reason=Reason.WORKER_LOST))
                # The sweep rings for it at once.
                await recovery.mark_rung(job.id, lane=job.lane, dispatches=0)
        self.add_process()

    async def due(self) -> list[tuple[str, str]]:
        due = {"status": Status.QUEUED.value, "not_before": {"$lte": self.clock()}}
        return [
            (kind, one["_id"])
            for kind, documents in ((EXECUTIONS, self.executions), (STEPS, self.steps))
            for one in await documents.find_many(due, limit=1000, fields=["_id"])
        ]

    async def run(
        self, execution_id: str, *, deaths: int = 0, meddle: Callable[[Job], Awaitable[None]] | None = None
    ) -> Job:
        """Until it has ended; so many processes die on the way, at any moment. ``meddle`` is called again and again."""
        store = JobStore(self.executions, clock=self.clock, redispatch=REDISPATCH)
        while True:
            job = await store.get(execution_id)
            if job.status in FINAL:
                return job
            if meddle is not None:
                await meddle(job)
            due = await self.due()
            if not due and not any(process.tasks for process in self.processes):
                await self.look_after()
            for kind, one in due:
                process = self.random.choice(self.processes)
                process.start(process.run_of(kind)(one, worker=process.name))
            for _ in range(self.random.randint(1, 30)):
                await asyncio.sleep(0)
            if deaths and self.random.random() < 0.4:
                deaths -= 1
                await self.kill(self.random.choice(self.processes))
            await asyncio.sleep(0.001)

    async def look_after(self) -> None:
        """Nobody does anything, since somebody died before he told others: what the upkeep is for."""
        self.clock.advance(2 * PATIENCE)
        await self.processes[0].upkeep.wake_forgotten()

    async def close(self) -> None:
        for process in self.processes:
            await asyncio.gather(*process.tasks, return_exceptions=True)


class Process:
    def __init__(self, fleet: Fleet, name: str) -> None:
        self.fleet = fleet
        self.name = name
        self.tasks: set[asyncio.Task[None]] = set()
        self.slots = Slots(SLOTS)
        self.slots.identify_by(lambda: name)
        self.signals = Signals(None)
        execution_store = self._store(fleet.executions, history_limit=20)
        self.step_store = self._store(fleet.steps, grouped=GroupedWrites(fleet.steps))
        values = ValueStore(ArtifactStore(str(fleet.artifacts)))
        journal = Journal(fleet.steps, GroupedWrites(fleet.steps), values, clock=fleet.clock, redispatch=REDISPATCH)
        self.values, self.journal = values, journal
        hearing = Hearing(journal, ArtifactStore(str(fleet.artifacts)), fleet.values, self._go_on)
        self.driver = Driver(self._parts(journal, hearing), self.carry_out)
        self.executions = self._runner(fleet.executions, execution_store, self.driver.drive, lambda *_: None)
        self.steps = self._runner(fleet.steps, self.step_store, self.driver.step, self._settled)
        waker = Waker(execution_store, _nobody, self.signals)
        self.upkeep = ExecutionUpkeep(journal, fleet.executions, waker, clock=fleet.clock)
        self.execution_runner = ExecutionRunner(
            self.driver, self.executions, execution_store, self.slots, waker, self.signals
        )
        self.step_runner = StepRunner(self.steps, self.execution_runner)

    def _parts(self, journal: Journal, hearing: Hearing) -> Parts:
        fleet = self.fleet
        means = Means(
            fleet.values,
            Anybody(),
            self.slots,
            self._run_held,
            _nobody,
            _nobody,
            self._no_signals,
            fleet.clock,
            _asked,
        )
        return Parts(
            Opener(OnePlan(fleet.plan), fleet.values, fleet.executions, journal, self.values, clock=fleet.clock),
            Starter(journal, hearing, means),
            hearing,
            self.values,
            fleet.executions,
            self.step_store,
            self.signals,
            fleet.clock,
            lambda step: self.steps.cancel(step),
        )

    def start(self, work: Any) -> None:
        task = asyncio.create_task(work)
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    def run_of(self, kind: str) -> Callable[..., Any]:
        return self.execution_runner.run if kind == EXECUTIONS else self.step_runner.run

    async def carry_out(self, attempt: Attempt) -> Outcome:
        document = attempt.job.document
        path = document["path"]
        self.fleet.begun[path] += 1
        for _ in range(self.fleet.random.randint(0, 20)):
            await asyncio.sleep(0)
        place = values_place_of(attempt.job.tenant_id, document["execution_id"])
        given = await self.values.get(place, document["input"])
        output, error = self.fleet.work(path, given["with"])
        attempt.evidence.append("attempts", {"number": attempt.job.attempt, "cost": COST})
        stored = None if output is None else await self.values.put(place, output)
        if error is None:
            return Finished({"output": stored, "end": "succeeded"})
        fault = {"type": error.type, "message": error.message, "path": None}
        attempt.evidence.fields.update({"end": "failed", "fault": fault, "output": stored})
        return Failed(error)

    def _settled(self, job: Job, outcome: Outcome) -> None:
        self.driver.step_settled(job, outcome)
        note_ended(job, outcome)

    async def _go_on(self, tenant_id: str, execution_id: str) -> None:
        await self.execution_runner.go_on(tenant_id, execution_id)

    async def _run_held(self, job: Job) -> None:
        await self.steps.run_held(job)

    async def _no_signals(self, tenant_id: str, execution_id: str) -> int:
        return 0

    def _store(self, documents: Documents, **options: Any) -> JobStore:
        return JobStore(documents, clock=self.fleet.clock, redispatch=REDISPATCH, **options)

    def _runner(
        self, documents: Documents, store: JobStore, handler: Handler, settled: Callable[[Job, Outcome], None]
    ) -> JobRunner:
        queue = JobQueue(documents, clock=self.fleet.clock, redispatch=REDISPATCH)
        permits = Permits(
            Documents(self.fleet.database["permits"]), {}, clock=self.fleet.clock, patience=timedelta(seconds=10)
        )
        dispatcher = Dispatcher(
            store,
            queue,
            permits,
            Parking(permits, [], limits=Limits()),
            kind="jobs",
            weights={},
            limits=Limits(),
            agent_of=lambda _: None,
            ring=lambda _: None,
            clock=self.fleet.clock,
        )
        return JobRunner(
            store,
            dispatcher,
            handler,
            policy_of=a_policy if store is self.step_store else lambda _: OF_EXECUTIONS,
            attempt_timeout=LONGEST,
            lease=LEASE,
            clock=self.fleet.clock,
            on_claimed=lambda _: None,
            on_settled=settled,
        )


async def _asked(execution: Job, execute: Execute, spec: ApprovalSpec, rendered: Rendered) -> Rendered:
    return rendered


def _nobody(*_: object) -> None:
    """Nobody is rung for: the fleet looks for itself what is due."""
