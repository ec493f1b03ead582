"""The checks of a live system, for `orchestrate verify` and for the metrics, with the patience that settings imply."""

from collections.abc import Mapping
from datetime import timedelta

from app.clock import Clock
from app.database.documents import Database, Documents
from app.governance.approvals.invariants import unattended
from app.governance.approvals.repository import COLLECTION as APPROVALS
from app.invariants.fields import contradictions, neglects, uncounted
from app.invariants.fleet import Attended, Fleet
from app.invariants.histories import TASK_RULES, WORKFLOW_RULES, Histories, Rules
from app.invariants.holders import ExpiredHolders, Orphans, StrandedPermits
from app.invariants.kinds import InEveryKind
from app.invariants.models import Invariant, Watched
from app.invariants.verifier import Verifier
from app.invariants.waiting import Stalled
from app.invariants.watch import LOOK_PATIENCE
from app.jobs import permits, workers
from app.jobs.permits import Permits
from app.jobs.queue import JobQueue
from app.jobs.recovery import LONGEST_REDISPATCH
from app.jobs.upkeep import lock_lease
from app.metrics.rollups import UNCHARGED
from app.settings import Settings
from app.tasks.models import COLLECTION as TASKS
from app.workflows.executions.invariants import CostsAreNumbers, Homeless, OpenAfterEnd, Stuck, Unheard
from app.workflows.executions.models import EXECUTIONS, STEPS
from app.workflows.executions.upkeep import PATIENCE

SWEEPS = 5
# By the kind of job, what the id of one is called in a report.
ID_NAMES: Mapping[str, str] = {TASKS: "task_id", EXECUTIONS: "execution_id", STEPS: "step_id"}


def build_verifier(settings: Settings, database: Database, *, clock: Clock) -> Verifier:
    fleet = Fleet(Documents(database[workers.COLLECTION]), clock=clock)
    kinds = {kind: Watched(id_name, Documents(database[kind])) for kind, id_name in ID_NAMES.items()}
    each = [
        _checks_of(jobs, TASK_RULES if kind == TASKS else WORKFLOW_RULES, fleet, settings, clock)
        for kind, jobs in kinds.items()
    ]
    healing = healing_time(settings)
    release = settings.lease + healing
    documents = {kind: jobs.documents for kind, jobs in kinds.items()}
    held = Permits(Documents(database[permits.COLLECTION]), documents, clock=clock, patience=release)
    of_all: list[Invariant] = [
        InEveryKind(
            [
                uncounted(kinds[TASKS], clock=clock, healing=healing),
                uncounted(kinds[STEPS], mark=UNCHARGED, clock=clock, healing=healing),
            ]
        ),
        StrandedPermits(held, ID_NAMES, clock=clock, patience=release),
        unattended(Watched("approval_id", Documents(database[APPROVALS])), clock=clock, patience=healing),
    ]
    checks: list[Invariant] = [
        *(InEveryKind(same) for same in zip(*each, strict=True)),
        *(Attended(check, fleet, clock=clock, settling=release) for check in of_all),
        *_checks_of_executions(kinds[EXECUTIONS], kinds[STEPS], fleet, settings, clock),
    ]
    return Verifier(checks, clock=clock, confirmation=confirmation_time(settings))


def _checks_of(jobs: Watched, rules: Rules, fleet: Fleet, settings: Settings, clock: Clock) -> list[Invariant]:
    """Those that are made of every kind of job, in the same order."""
    queue = JobQueue(jobs.documents, clock=clock, redispatch=timedelta(seconds=settings.redispatch_sec))
    healing = healing_time(settings)
    release = settings.lease + healing
    neglected = neglects(jobs, clock=clock, healing=healing, release=release)
    return [
        ExpiredHolders(jobs, fleet, clock=clock, patience=release),
        Orphans(jobs, fleet, clock=clock, patience=settings.lease + release),
        *contradictions(jobs),
        Stalled(jobs, queue, fleet, clock=clock, patience=LONGEST_REDISPATCH + healing),
        *(Attended(check, fleet, clock=clock, settling=release) for check in neglected),
        Histories(jobs, rules),
    ]


def _checks_of_executions(
    executions: Watched, steps: Watched, fleet: Fleet, settings: Settings, clock: Clock
) -> list[Invariant]:
    """What executions and their steps promise each other."""
    healing = healing_time(settings)
    healed: list[Invariant] = [
        OpenAfterEnd(executions, steps, clock=clock, patience=settings.lease + healing),
        Stuck(executions, steps, clock=clock, patience=healing),
        Unheard(executions, steps, clock=clock, patience=PATIENCE + healing),
    ]
    return [
        *(Attended(check, fleet, clock=clock, settling=settings.lease + healing) for check in healed),
        Homeless(executions, steps),
        CostsAreNumbers(executions),
    ]


def healing_time(settings: Settings) -> timedelta:
    """How long the upkeep may take to get to something: its worker may have died, and each write may be slow."""
    interval = timedelta(seconds=settings.sweep_sec)
    return lock_lease(interval) + SWEEPS * interval + timedelta(seconds=2 * settings.mongo_timeout_sec)


def confirmation_time(settings: Settings) -> timedelta:
    """Long enough for a sweep to take place and for every worker to tell again how many slots it has."""
    return timedelta(seconds=2 * settings.sweep_sec + settings.heartbeat_sec)


def verification_patience(settings: Settings) -> timedelta:
    """The longest that one verification in the background may take."""
    return LOOK_PATIENCE + confirmation_time(settings)
