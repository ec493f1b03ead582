"""The kernel over mongomock, with a clock that only moves when told to."""

from collections.abc import Callable, Mapping
from datetime import timedelta
from types import MappingProxyType

import pytest

from app.database.documents import Database, Documents
from app.jobs.dispatch import Dispatcher
from app.jobs.limits import Limits
from app.jobs.models import Job
from app.jobs.outcomes import Outcome
from app.jobs.parking import Lot, Parking
from app.jobs.permits import Permits
from app.jobs.queue import JobQueue
from app.jobs.recovery import Recovery
from app.jobs.retry import RetryPolicy
from app.jobs.runner import JobRunner
from app.jobs.store import JobStore
from app.jobs.workers import WorkerDirectory
from tests.fakes.mongo import fake_mongo
from tests.job_builders import LEASE, NO_LIMITS, NOON, REDISPATCH, SECOND, FakeClock, MakeDispatcher, Recorder, a_policy
from tests.runner_builders import Handler, MakeRunner


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def database() -> Database:
    return fake_mongo()["tests"]


@pytest.fixture
def documents(database: Database) -> Documents:
    return Documents(database["jobs"])


@pytest.fixture
def jobs(documents: Documents, clock: FakeClock) -> JobStore:
    return JobStore(documents, clock=clock, redispatch=REDISPATCH)


@pytest.fixture
def queue(documents: Documents, clock: FakeClock) -> JobQueue:
    return JobQueue(documents, clock=clock, redispatch=REDISPATCH)


@pytest.fixture
def permits(database: Database, documents: Documents, clock: FakeClock) -> Permits:
    return Permits(Documents(database["permits"]), {"jobs": documents}, clock=clock, patience=10 * SECOND)


@pytest.fixture
def dispatcher_of(
    jobs: JobStore, queue: JobQueue, permits: Permits, clock: FakeClock, bell: Recorder
) -> MakeDispatcher:
    """A worker's dispatcher; several of them share the store as several workers do."""

    def make(
        *, store: JobStore = jobs, limits: Limits = NO_LIMITS, weights: Mapping[str, float] = MappingProxyType({})
    ) -> Dispatcher:
        return Dispatcher(
            store,
            queue,
            permits,
            Parking(permits, [Lot(queue, bell.ring)], limits=limits),
            kind="jobs",
            weights=weights,
            limits=limits,
            agent_of=lambda document: document.get("agent"),
            ring=bell.ring,
            clock=clock,
            monotonic=lambda: (clock() - NOON).total_seconds(),
        )

    return make


@pytest.fixture
def recovery(documents: Documents, clock: FakeClock) -> Recovery:
    return Recovery(documents, clock=clock, redispatch=REDISPATCH)


@pytest.fixture
def workers(database: Database, clock: FakeClock) -> WorkerDirectory:
    return WorkerDirectory(Documents(database["workers"]), clock=clock)


@pytest.fixture
def bell() -> Recorder:
    return Recorder()


Changes = list[str]


@pytest.fixture
def changes() -> Changes:
    return []


@pytest.fixture
def settled() -> list[Outcome]:
    return []


@pytest.fixture
def runner_of(jobs: JobStore, dispatcher_of: MakeDispatcher, clock: FakeClock, settled: list[Outcome]) -> MakeRunner:
    def make(
        handler: Handler,
        *,
        store: JobStore = jobs,
        timeout: timedelta = 5 * SECOND,
        limits: Limits = NO_LIMITS,
        policy_of: Callable[[Job], RetryPolicy] = a_policy,
    ) -> JobRunner:
        return JobRunner(
            store,
            dispatcher_of(store=store, limits=limits),
            handler,
            policy_of=policy_of,
            attempt_timeout=timeout,
            lease=LEASE,
            clock=clock,
            on_claimed=lambda job: None,
            on_settled=lambda job, outcome: settled.append(outcome),
        )

    return make
