"""The heartbeat keeps the lease, and says so in time when it cannot."""

from datetime import timedelta
from typing import Any

import mongomock
import pytest
from pymongo.errors import AutoReconnect

from app.jobs.heartbeat import Heartbeat, longest_renewal
from app.jobs.workers import WorkerIdentity
from tests.job_builders import LEASE, SECOND, FakeClock


class Workers:
    """The workers' collection, which can be cut off."""

    def __init__(self) -> None:
        self.collection: Any = mongomock.MongoClient(tz_aware=True)["tests"]["workers"]
        self.reachable = True
        self.answers_after = timedelta()
        self.clock: FakeClock | None = None

    def insert_one(self, document: Any) -> Any:
        self._check()
        return self.collection.insert_one(document)

    def update_one(self, where: Any, change: Any) -> Any:
        self._check()
        return self.collection.update_one(where, change)

    def delete_one(self, where: Any) -> Any:
        self._check()
        return self.collection.delete_one(where)

    def _check(self) -> None:
        if self.clock:
            self.clock.advance(self.answers_after)
        if not self.reachable:
            raise AutoReconnect("cut off")


@pytest.fixture
def workers() -> Workers:
    return Workers()


@pytest.fixture
def lost() -> list[str]:
    return []


@pytest.fixture
def heartbeat(workers: Workers, clock: FakeClock, lost: list[str]) -> Heartbeat:
    return a_heartbeat(workers, clock, lost)


def a_heartbeat(
    workers: Workers,
    clock: FakeClock,
    lost: list[str],
    *,
    lease: timedelta = LEASE,
    interval: timedelta = timedelta(seconds=4),
) -> Heartbeat:
    names = iter("abcdefgh")
    return Heartbeat(
        workers,  # type: ignore[arg-type]
        lambda: WorkerIdentity(next(names), "host", 1, ("agent_tasks",), 10, "1"),
        lease=lease,
        interval=interval,
        clock=clock,
        in_flight=lambda: 3,
        on_lost=lost.append,
        watch=lambda: None,
        monotonic=lambda: clock().timestamp(),
    )


def test_a_worker_registers_before_it_may_claim(heartbeat: Heartbeat, workers: Workers, clock: FakeClock) -> None:
    before = heartbeat.worker_id

    heartbeat._beat()

    assert before is None
    assert heartbeat.worker_id == "a"
    assert (workers.collection.find_one() or {})["expires_at"] == clock() + LEASE


def test_a_beat_renews_the_lease_and_tells_how_busy_the_worker_is(
    heartbeat: Heartbeat, workers: Workers, clock: FakeClock
) -> None:
    heartbeat._beat()
    clock.advance(4 * SECOND)

    heartbeat._beat()

    document = workers.collection.find_one() or {}
    assert document["expires_at"] == clock() + LEASE
    assert document["in_flight"] == 3


def test_an_expired_lease_is_lost_and_the_worker_comes_back_as_another(
    heartbeat: Heartbeat, clock: FakeClock, lost: list[str]
) -> None:
    heartbeat._beat()
    clock.advance(LEASE)

    heartbeat._beat()
    while_lost = heartbeat.worker_id
    heartbeat._beat()

    assert lost == ["a"]
    assert while_lost is None
    assert heartbeat.worker_id == "b"


def test_a_lease_that_ran_out_is_not_used_even_before_a_beat_notices(heartbeat: Heartbeat, clock: FakeClock) -> None:
    heartbeat._beat()

    clock.advance(LEASE)

    assert heartbeat.worker_id is None


def test_a_renewal_that_failed_is_repeated_soon(heartbeat: Heartbeat, workers: Workers) -> None:
    heartbeat._beat()
    at_ease = heartbeat._pause()
    workers.reachable = False
    heartbeat._beat()

    assert at_ease == 4.0
    assert heartbeat._pause() <= 1.0


def test_a_worker_that_cannot_renew_gives_up_before_the_lease_runs_out(
    heartbeat: Heartbeat, workers: Workers, clock: FakeClock, lost: list[str]
) -> None:
    heartbeat._beat()
    workers.reachable = False

    clock.advance(10 * SECOND)
    heartbeat._beat()
    early = list(lost)
    clock.advance(SECOND)
    heartbeat._beat()

    assert early == []
    assert lost == ["a"]


@pytest.mark.parametrize("lease", [1.0, 2.0, 15.0, 600.0])
@pytest.mark.parametrize("share", [1 / 3, 1 / 4, 1 / 10])
@pytest.mark.parametrize("last_good", [0.0, 0.3, 0.74])
def test_renewals_that_hang_never_let_a_worker_go_on_past_its_lease(
    workers: Workers, clock: FakeClock, lost: list[str], lease: float, share: float, last_good: float
) -> None:
    interval = timedelta(seconds=lease * share)
    workers.clock, workers.answers_after = clock, last_good * interval
    heartbeat = a_heartbeat(workers, clock, lost, lease=timedelta(seconds=lease), interval=interval)
    heartbeat._beat()
    renewed_at = clock() - workers.answers_after
    workers.reachable, workers.answers_after = False, longest_renewal(interval)

    while not lost:
        clock.advance(timedelta(seconds=heartbeat._pause()))
        heartbeat._beat()

    assert clock() - renewed_at <= timedelta(seconds=lease)
