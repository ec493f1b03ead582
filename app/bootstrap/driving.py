"""What drives executions of workflows and carries out their steps, in a worker."""

import os
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

from app.agents.context import FittedChat
from app.bootstrap.circuits import Guarded
from app.bootstrap.core import Core
from app.bootstrap.handling import build_enforcer, build_peer, build_recorder, parse_code
from app.bootstrap.worked import Gate, Work, Worked, build_reminders, build_worked
from app.bootstrap.workflows import build_reader
from app.checkpoints.service import Checkpoints
from app.events.publishing import LivePublisher
from app.governance.approvals.service import Approvals
from app.governance.evaluation.evaluator import Evaluator
from app.jobs.grouped import GroupedWrites
from app.jobs.models import Job, Reason
from app.jobs.outcomes import Outcome, RetryAt, final_status
from app.jobs.reminders import Reminders
from app.jobs.retry import Backoff, RetryPolicy
from app.jobs.slots import Slots
from app.observability.redaction import Redactor, secrets_of
from app.tasks.execution import Equipment
from app.workflows.executions.approvals import StepApprovals
from app.workflows.executions.conclusions import Conclusions
from app.workflows.executions.driver import Driver
from app.workflows.executions.driver import Parts as DriverParts
from app.workflows.executions.handler import StepHandler, agent_of_step, policy_of_step
from app.workflows.executions.hearing import Hearing
from app.workflows.executions.journal import Journal
from app.workflows.executions.models import SIGNALS
from app.workflows.executions.opening import Opener
from app.workflows.executions.plans import Plans
from app.workflows.executions.repository import ExecutionRepository
from app.workflows.executions.running import ExecutionRunner, StepRunner, note_ended
from app.workflows.executions.signals import SignalBox
from app.workflows.executions.starting import Means, Starter
from app.workflows.executions.upkeep import ExecutionUpkeep
from app.workflows.executions.values import ValueStore
from app.workflows.executions.waking import Waker
from app.workflows.executions.work import Workshop
from app.workflows.language.expressions import Expressions
from app.workflows.steps.commands import Guard

# A claim after one of these is the first of its series.
_BEGINNINGS = frozenset({Reason.ACCEPTED.value, Reason.RETRIED.value})
# Of the kernel: what may take how long is in the workflow.
LONGEST = timedelta(days=365)
# Who drives is lost with its worker, and was not at fault; one that ends so many workers is.
OF_EXECUTIONS = RetryPolicy(25, Backoff(timedelta(milliseconds=200), timedelta(seconds=5)))


@dataclass(frozen=True, slots=True)
class Carriers:
    """What agents in steps work with."""

    guarded: Guarded
    checkpoints: Checkpoints
    publisher: LivePublisher
    guard_of_programs: Guard
    approvals: Approvals
    equipment: Equipment


@dataclass(frozen=True, slots=True)
class Driving:
    worked: tuple[Worked, Worked]
    upkeep: ExecutionUpkeep


class _Late:
    """What is built after those who call it."""

    def __init__(self) -> None:
        self.run_held: Callable[[Job], Awaitable[None]]
        self.stop: Callable[[str], None]
        self.go_on: Callable[[str, str], Awaitable[None]]


def build_driving(core: Core, carriers: Carriers, *, slots: Slots, gate: Gate) -> Driving:
    late, values = _Late(), ValueStore(core.artifacts)
    plans = Plans(build_reader(core))
    journal = Journal(
        core.steps.documents,
        GroupedWrites(core.steps.documents),
        values,
        clock=core.clock,
        redispatch=timedelta(seconds=core.settings.redispatch_sec),
    )
    reminders = build_reminders(core, core.steps)
    hearing = Hearing(journal, core.artifacts, Expressions(), lambda tenant, one: late.go_on(tenant, one))
    parts = DriverParts(
        Opener(plans, hearing.expressions, core.executions.documents, journal, values, clock=core.clock),
        Starter(journal, hearing, _means(core, carriers, hearing, late, slots, reminders, plans, values)),
        hearing,
        values,
        core.executions.documents,
        core.steps.store,
        core.signals,
        core.clock,
        lambda step: late.stop(step),
    )
    driver = Driver(parts, _build_handler(core, carriers, plans, values))
    return _assemble(core, carriers, driver, journal, late, slots=slots, gate=gate, reminders=reminders)


def _means(
    core: Core,
    carriers: Carriers,
    hearing: Hearing,
    late: _Late,
    slots: Slots,
    reminders: Reminders,
    plans: Plans,
    values: ValueStore,
) -> Means:
    signal_box = SignalBox(
        core.documents(SIGNALS),
        ExecutionRepository(core.executions.documents, core.steps.documents),
        Conclusions(core.steps.store, values, plans),
        values,
        clock=core.clock,
    )
    return Means(
        hearing.expressions,
        core.registry,
        slots,
        lambda job: late.run_held(job),
        core.steps.bell.ring,
        reminders.remind,
        signal_box.deliver,
        core.clock,
        StepApprovals(carriers.approvals).ask,
        claims_itself=not core.settings.tenant_concurrency,
    )


def _build_handler(core: Core, carriers: Carriers, plans: Plans, values: ValueStore) -> StepHandler:
    settings = core.settings
    workshop = Workshop(
        core.registry,
        build_peer(core),
        FittedChat(carriers.guarded.chat, limit=settings.llm_context_tokens),
        carriers.equipment,
        Evaluator(core.evaluators, parse_code),
        carriers.publisher,
        Redactor(secrets_of(settings)),
        carriers.guarded.new_meter,
        build_recorder(core),
        os.environ,
        StepApprovals(carriers.approvals),
        allow_commands=settings.worker_allow_commands,
        guard=carriers.guard_of_programs,
    )
    return StepHandler(
        plans,
        values,
        workshop,
        budgets=build_enforcer(core),
        clock=core.clock,
        timeout=timedelta(seconds=settings.task_timeout_sec),
    )


def _assemble(
    core: Core,
    carriers: Carriers,
    driver: Driver,
    journal: Journal,
    late: _Late,
    *,
    slots: Slots,
    gate: Gate,
    reminders: Reminders,
) -> Driving:
    aftermath = _Aftermath(core, carriers, driver, reminders)
    of_executions = Work(
        driver.drive, _policy_of_execution, LONGEST, aftermath.claimed, aftermath.settled, _no_agent, is_limited=False
    )
    of_steps = Work(
        driver.step,
        policy_of_step,
        LONGEST,
        aftermath.step_claimed,
        aftermath.step_settled,
        agent_of_step,
    )
    executions = build_worked(
        core, core.executions, of_executions, gate=gate, reminders=build_reminders(core, core.executions)
    )
    steps = build_worked(core, core.steps, of_steps, gate=gate, reminders=reminders)
    waker = Waker(core.executions.store, core.executions.bell.ring, core.signals)
    runner = ExecutionRunner(driver, executions.runner, core.executions.store, slots, waker, core.signals)
    late.run_held, late.stop, late.go_on = steps.runner.run_held, steps.runner.cancel, runner.go_on
    return Driving(
        (replace(executions, run=runner.run), replace(steps, run=StepRunner(steps.runner, runner).run)),
        ExecutionUpkeep(journal, core.executions.documents, waker, clock=core.clock),
    )


@dataclass(frozen=True, slots=True)
class _Aftermath:
    """What follows when an execution or a step was claimed, or an attempt at it ended. All of it may be lost."""

    core: Core
    carriers: Carriers
    driver: Driver
    reminders: Reminders

    def claimed(self, execution: Job) -> None:
        self.core.signals.notify(execution.id)
        before_the_claim = execution.document["history"][-2:-1]
        if any(entry["reason"] in _BEGINNINGS for entry in before_the_claim):
            self.core.metrics.workflows.execution_started()

    def settled(self, execution: Job, outcome: Outcome) -> None:
        self.core.signals.notify(execution.id)
        if status := final_status(outcome):
            seconds = (self.core.clock() - execution.document["queued_at"]).total_seconds()
            self.core.metrics.workflows.execution_finished(status, seconds)

    def step_claimed(self, job: Job) -> None:
        self.core.signals.notify_soon(job.document["execution_id"])

    def step_settled(self, job: Job, outcome: Outcome) -> None:
        self.driver.step_settled(job, outcome)
        note_ended(job, outcome)
        status = final_status(outcome)
        self.carriers.checkpoints.settled(job.id, is_final=status is not None)
        if status:
            seconds = (self.core.clock() - job.document["started_at"]).total_seconds()
            self.core.metrics.workflows.step_finished(job.document["kind"], status, seconds)
        elif isinstance(outcome, RetryAt):
            self.reminders.remind(job, outcome.at)


def _policy_of_execution(_: Job) -> RetryPolicy:
    return OF_EXECUTIONS


def _no_agent(_: Mapping[str, Any]) -> None:
    """Nobody in particular drives an execution."""
