"""One kind of job as a worker does it: from the message to the sweep, whatever the handler."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Protocol

from app.bootstrap.core import Core
from app.jobs import permits
from app.jobs.dispatch import Dispatcher
from app.jobs.kind import Jobs
from app.jobs.limits import Limits
from app.jobs.models import Job
from app.jobs.outcomes import Outcome
from app.jobs.parking import Lot, Parking
from app.jobs.permits import Permits
from app.jobs.reconciler import Reconciler
from app.jobs.reminders import Reminders
from app.jobs.retry import RetryPolicy
from app.jobs.runner import Handler, JobRunner
from app.jobs.sweeper import Sweeper, decide_lost
from app.settings import Settings


class Run(Protocol):
    async def __call__(self, job_id: str, /, *, worker: str) -> object: ...


@dataclass(frozen=True, slots=True)
class Gate:
    """The limits on what runs at the same time, in all collections, and what waits for them."""

    permits: Permits
    parking: Parking
    limits: Limits


@dataclass(frozen=True, slots=True)
class Work:
    """What one kind of job has of its own: who does it, how long and how often it is tried, and who hears of it.

    ``agent_of`` reads from a job's document which agent will do it. Without ``is_limited`` no permit is asked for
    before a job is claimed.
    """

    handler: Handler
    policy_of: Callable[[Job], RetryPolicy]
    attempt_timeout: timedelta
    on_claimed: Callable[[Job], None]
    on_settled: Callable[[Job, Outcome], None]
    agent_of: Callable[[Mapping[str, Any]], str | None]
    is_limited: bool = True


@dataclass(frozen=True, slots=True)
class Worked:
    """One kind of job in one worker process, bound to its event loop. ``run`` does what a message says."""

    jobs: Jobs
    dispatcher: Dispatcher
    runner: JobRunner
    reconciler: Reconciler
    reminders: Reminders
    sweeper: Sweeper
    run: Run


def build_gate(core: Core) -> Gate:
    limits = Limits(core.settings.tenant_concurrency, core.settings.agent_concurrency)
    held = Permits(
        core.documents(permits.COLLECTION),
        {jobs.kind: jobs.documents for jobs in core.kinds},
        clock=core.clock,
        # A permit of the tenant and one of the agent are taken before the claim.
        patience=2 * longest_claim(core.settings),
    )
    lots = [Lot(jobs.queue, jobs.bell.ring) for jobs in core.kinds]
    return Gate(held, Parking(held, lots, limits=limits), limits)


def build_reminders(core: Core, jobs: Jobs) -> Reminders:
    return Reminders(jobs.recovery, jobs.bell.ring, clock=core.clock)


def build_worked(core: Core, jobs: Jobs, work: Work, *, gate: Gate, reminders: Reminders) -> Worked:
    dispatcher = _build_dispatcher(core, jobs, work, gate)
    runner = JobRunner(
        jobs.store,
        dispatcher,
        work.handler,
        policy_of=work.policy_of,
        attempt_timeout=work.attempt_timeout,
        lease=core.settings.lease,
        clock=core.clock,
        on_claimed=work.on_claimed,
        on_settled=work.on_settled,
    )
    reconciler = Reconciler(
        jobs.recovery,
        runner,
        patience=longest_claim(core.settings),
        clock=core.clock,
        decide=lambda job: decide_lost(job, policy=work.policy_of(job), now=core.clock()),
        on_released=work.on_settled,
    )
    sweeper = _build_sweeper(core, jobs, work, reminders)
    return Worked(jobs, dispatcher, runner, reconciler, reminders, sweeper, runner.run)


def longest_claim(settings: Settings) -> timedelta:
    """Twice the longest wait for an answer: by then a claim has arrived or never will."""
    return timedelta(seconds=2 * settings.mongo_timeout_sec)


def _build_dispatcher(core: Core, jobs: Jobs, work: Work, gate: Gate) -> Dispatcher:
    return Dispatcher(
        jobs.store,
        jobs.queue,
        gate.permits,
        gate.parking,
        kind=jobs.kind,
        weights=core.settings.tenant_weights,
        limits=gate.limits if work.is_limited else Limits(),
        agent_of=work.agent_of,
        ring=jobs.bell.ring,
        clock=core.clock,
    )


def _build_sweeper(core: Core, jobs: Jobs, work: Work, reminders: Reminders) -> Sweeper:
    others = [other for other in core.kinds if other.kind != jobs.kind]
    return Sweeper(
        jobs.recovery,
        core.workers,
        policy_of=work.policy_of,
        lease=core.settings.lease,
        clock=core.clock,
        interval=timedelta(seconds=core.settings.sweep_sec),
        ring=jobs.bell.ring,
        remind=reminders.remind,
        measure_depth=jobs.bell.measure_depth,
        broker_answers=lambda: jobs.bell.is_answered,
        on_change=core.signals.notify,
        others=[other.recovery for other in others],
        sharing=[other.recovery for other in others if other.bell.queue_names & jobs.bell.queue_names],
    )
