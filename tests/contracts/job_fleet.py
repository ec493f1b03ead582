"""Workers that share a store of jobs, each with a dispatcher of its own."""

import itertools
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from types import MappingProxyType
from typing import Any

from app.database.documents import Database, Documents
from app.jobs.dispatch import Dispatcher, Taken
from app.jobs.limits import Limit, Limits
from app.jobs.outcomes import Finished
from app.jobs.parking import Lot, Parking
from app.jobs.permits import Permits
from app.jobs.queue import JobQueue
from app.jobs.store import JobStore
from app.jobs.transitions import Evidence
from tests.job_builders import NO_LIMITS, NOON, REDISPATCH, SECOND, TENANT, FakeClock, Recorder, a_new_job

NO_WEIGHTS: Mapping[str, float] = MappingProxyType({})
LONG = timedelta(seconds=30)


class CountingPermits(Permits):
    """Permits that count how often they are asked for."""

    asked = 0

    async def acquire(self, limit: Limit, *, kind: str, token: str, job_id: str) -> bool:
        self.asked += 1
        return await super().acquire(limit, kind=kind, token=token, job_id=job_id)


@dataclass(slots=True)
class Fleet:
    """A store of jobs and the workers that share it."""

    database: Database
    clock: FakeClock
    bell: Recorder
    store: JobStore
    numbers: "itertools.count[int]"

    @classmethod
    def over(cls, database: Database) -> "Fleet":
        clock = FakeClock()
        store = JobStore(Documents(database["jobs"]), clock=clock, redispatch=REDISPATCH)
        return cls(database, clock, Recorder(), store, itertools.count())

    def permits(self) -> "CountingPermits":
        kinds = {"jobs": Documents(self.database["jobs"])}
        return CountingPermits(Documents(self.database["permits"]), kinds, clock=self.clock, patience=10 * SECOND)

    def parking(self, *, limits: Limits = NO_LIMITS, permits: Permits | None = None) -> Parking:
        return Parking(permits or self.permits(), [Lot(self.queue(), self.bell.ring)], limits=limits)

    def queue(self) -> JobQueue:
        return JobQueue(Documents(self.database["jobs"]), clock=self.clock, redispatch=REDISPATCH)

    def worker(
        self,
        *,
        limits: Limits = NO_LIMITS,
        weights: Mapping[str, float] = NO_WEIGHTS,
        permits: Permits | None = None,
    ) -> Dispatcher:
        permits = permits or self.permits()
        return Dispatcher(
            self.store,
            self.queue(),
            permits,
            self.parking(limits=limits, permits=permits),
            kind="jobs",
            weights=weights,
            limits=limits,
            agent_of=lambda document: document.get("agent"),
            ring=self.bell.ring,
            clock=self.clock,
            monotonic=lambda: (self.clock() - NOON).total_seconds(),
        )

    async def add(self, number: int, *, tenant: str = TENANT, priority: int = 5, **fields: Any) -> list[str]:
        ids = [f"{tenant}-{next(self.numbers):04}" for _ in range(number)]
        for job_id in ids:
            await self.store.enqueue(a_new_job(job_id, tenant_id=tenant, priority=priority, fields=fields))
            self.clock.advance(timedelta(milliseconds=1))
        return ids

    async def finish(self, worker: Dispatcher, taken: Taken) -> None:
        await self.store.settle(taken.job, Finished(), Evidence())
        await worker.give_back(taken.job, taken.permits)


def tenants(taken: list[Taken]) -> Counter[str]:
    return Counter(one.job.tenant_id for one in taken)


async def take_all(worker: Dispatcher, bells: list[str]) -> list[Taken]:
    answers = [await worker.take(job_id, worker="w1") for job_id in bells]
    return [taken for taken in answers if taken is not None]
