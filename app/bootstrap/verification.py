"""The checks of a live system, for `orchestrate verify` and for the metrics, with the patience that settings imply."""

from datetime import timedelta

from app.clock import Clock
from app.database.documents import Database, Documents
from app.invariants.fields import contradictions, neglects
from app.invariants.fleet import Attended, Fleet
from app.invariants.histories import Histories
from app.invariants.holders import ExpiredHolders, Orphans, StrandedPermits
from app.invariants.models import Invariant
from app.invariants.verifier import Verifier
from app.invariants.waiting import Stalled
from app.invariants.watch import LOOK_PATIENCE
from app.jobs import permits, workers
from app.jobs.permits import Permits
from app.jobs.queue import JobQueue
from app.jobs.recovery import LONGEST_REDISPATCH
from app.jobs.upkeep import lock_lease
from app.settings import Settings
from app.tasks.models import COLLECTION as TASKS

SWEEPS = 5


def build_verifier(settings: Settings, database: Database, *, clock: Clock) -> Verifier:
    jobs, fleet = Documents(database[TASKS]), Fleet(Documents(database[workers.COLLECTION]), clock=clock)
    queue = JobQueue(jobs, clock=clock, redispatch=timedelta(seconds=settings.redispatch_sec))
    healing = healing_time(settings)
    release = settings.lease + healing
    held = Permits(Documents(database[permits.COLLECTION]), jobs, clock=clock, patience=release)
    neglected: list[Invariant] = [
        *neglects(jobs, clock=clock, healing=healing, release=release),
        StrandedPermits(held, clock=clock, patience=release),
    ]
    checks: list[Invariant] = [
        ExpiredHolders(jobs, fleet, clock=clock, patience=release),
        Orphans(jobs, fleet, clock=clock, patience=settings.lease + release),
        *contradictions(jobs),
        Stalled(jobs, queue, fleet, clock=clock, patience=LONGEST_REDISPATCH + healing),
        *(Attended(check, fleet, clock=clock, settling=release) for check in neglected),
        Histories(jobs),
    ]
    return Verifier(checks, clock=clock, confirmation=confirmation_time(settings))


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
