"""Fields that contradict each other: whatever a query finds is an offender."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from app.clock import Clock
from app.invariants.models import FIELDS, Offender, Watched, offenders
from app.jobs.models import FINAL, OPEN, Status
from app.jobs.store import WAITING

LONGEST_COUNTING = timedelta(minutes=1)
_FINAL = sorted(status.value for status in FINAL)
_OPEN = sorted(status.value for status in OPEN)
_HELD: Mapping[str, Any] = {"$gt": ""}


@dataclass(frozen=True, slots=True)
class Forbidden:
    """``where`` is asked at each look; an index answers it."""

    name: str
    promise: str
    jobs: Watched
    where: Callable[[], Mapping[str, Any]]

    async def list_offenders(self, *, limit: int) -> list[Offender]:
        return offenders(self.jobs, await self.jobs.documents.find_many(self.where(), limit=limit, fields=FIELDS))


def contradictions(jobs: Watched) -> tuple[Forbidden, ...]:
    """What one write must never leave behind, not even for a moment."""
    return (
        Forbidden(
            "processing_without_lease",
            "a job being worked on has a lease",
            jobs,
            lambda: {"status": Status.PROCESSING.value, "lease": None},
        ),
        Forbidden(
            "final_with_lease",
            "a job that ended has no lease",
            jobs,
            lambda: {"lease.worker": _HELD, "status": {"$in": _FINAL}},
        ),
        Forbidden(
            "waiting_with_lease",
            "a job that waits has no lease",
            jobs,
            lambda: {"lease.worker": _HELD, "status": {"$in": WAITING}},
        ),
        Forbidden(
            "final_without_completion",
            "a job that ended says when",
            jobs,
            lambda: {"status": {"$in": _FINAL}, "completed_at": None},
        ),
    )


def neglects(jobs: Watched, *, clock: Clock, healing: timedelta, release: timedelta) -> tuple[Forbidden, ...]:
    """What the upkeep of a live worker puts right.

    ``healing`` is how long that may take, ``release`` the same for the jobs of a lost worker.
    """

    def ago(age: timedelta) -> Mapping[str, datetime]:
        return {"$lte": clock() - age}

    return (
        Forbidden(
            "timer_not_rung",
            "a job whose time has come is rung for",
            jobs,
            lambda: {"status": Status.QUEUED.value, "dispatches": 0, "next_dispatch_at": ago(healing)},
        ),
        Forbidden(
            "deadline_missed",
            "a job that waits past its deadline is failed",
            jobs,
            lambda: {"status": Status.QUEUED.value, "deadline_at": ago(healing)},
        ),
        Forbidden(
            "cancellation_unheeded",
            "a job that was asked to stop has stopped",
            jobs,
            lambda: {"status": {"$in": _OPEN}, "cancel_requested_at": ago(release)},
        ),
    )


def uncounted(jobs: Watched, *, mark: str = "uncounted", clock: Clock, healing: timedelta) -> Forbidden:
    """Of jobs that the totals count, which have this mark until they are."""
    return Forbidden(
        "uncounted_job",
        "a change is in the totals after a minute",
        jobs,
        lambda: {mark: True, "updated_at": {"$lte": clock() - LONGEST_COUNTING - healing}},
    )
