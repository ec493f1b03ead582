"""Jobs that are held by nobody although they say that somebody works on them."""

from collections.abc import Mapping
from datetime import timedelta

from app.clock import Clock, to_iso
from app.invariants.fleet import Fleet
from app.invariants.models import FIELDS, Offender, Watched, offenders
from app.jobs.models import Status
from app.jobs.permits import Permits


class ExpiredHolders:
    """The sweep releases what an expired worker held; it did not."""

    name = "expired_worker_holds_job"
    promise = "what an expired worker held is released"

    def __init__(self, jobs: Watched, fleet: Fleet, *, clock: Clock, patience: timedelta) -> None:
        """``patience`` is how long after the expiry a healthy system may take."""
        self._jobs = jobs
        self._fleet = fleet
        self._clock = clock
        self._patience = patience

    async def list_offenders(self, *, limit: int) -> list[Offender]:
        before = self._clock() - self._patience
        expired = await self._fleet.list_expired(before=before)
        if not expired:
            return []
        held = {
            "status": Status.PROCESSING.value,
            "lease.worker": {"$in": expired},
            # A claim that was on its way when the worker expired comes late.
            "started_at": {"$lt": before},
        }
        return offenders(self._jobs, await self._jobs.documents.find_many(held, limit=limit, fields=FIELDS))


class Orphans:
    """The sweep releases what an unknown worker holds; it did not."""

    name = "orphaned_job"
    promise = "every job being worked on has a worker that is known"

    def __init__(self, jobs: Watched, fleet: Fleet, *, clock: Clock, patience: timedelta) -> None:
        """``patience`` counts from the claim."""
        self._jobs = jobs
        self._fleet = fleet
        self._clock = clock
        self._patience = patience

    async def list_offenders(self, *, limit: int) -> list[Offender]:
        held = {
            "status": Status.PROCESSING.value,
            "lease.worker": {"$gt": "", "$nin": await self._fleet.list_known()},
            "started_at": {"$lt": self._clock() - self._patience},
        }
        return offenders(self._jobs, await self._jobs.documents.find_many(held, limit=limit, fields=FIELDS))


class StrandedPermits:
    """The upkeep takes back what no running claim stands behind; it did not, and others wait for it."""

    name = "stranded_permit"
    promise = "every permit in use is held by a running job"

    def __init__(self, permits: Permits, id_names: Mapping[str, str], *, clock: Clock, patience: timedelta) -> None:
        """``id_names`` says by the kind of job what the id of one is called.

        ``patience`` counts from when the permit was taken.
        """
        self._permits = permits
        self._id_names = id_names
        self._clock = clock
        self._patience = patience

    async def list_offenders(self, *, limit: int) -> list[Offender]:
        before = self._clock() - self._patience
        stale = [holder for holder in await self._permits.list_stale() if holder.since < before]
        return [
            {self._id_names.get(one.kind, "job_id"): one.job_id, "permit": one.permit, "since": to_iso(one.since)}
            for one in stale[:limit]
        ]
