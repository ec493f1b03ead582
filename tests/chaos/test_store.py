"""The store dies, stands still, is slow and loses answers: nothing acknowledged is lost, nothing is done by two."""

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pytest

from app.ids import new_id
from tests.chaos.client import ChaosClient, Watcher
from tests.chaos.conftest import StartWorld
from tests.chaos.measurements import STORE_TO_START, STORE_TO_STOPPED
from tests.chaos.proxy import Proxy
from tests.chaos.verdict import Verdict
from tests.chaos.work import effect, sleep, tick, work
from tests.chaos.world import World, store_by
from tests.processes import until
from tests.scenarios.stack import QUICK

LEASE = float(QUICK["LEASE_SEC"])
# Longer than anything that is waited for: only a stop ends it.
LONG = 60.0
STARTS_WITHIN = 10.0
CLIENTS = 4
PACE = 0.05


@contextmanager
def load(client: ChaosClient) -> Iterator[None]:
    """Clients that submit one task after the other, each until it is accepted."""
    over = threading.Event()

    def submit() -> None:
        while not over.wait(PACE):
            client.submit_stubbornly(work(effect("mail"), sleep(0.2)), key=new_id())

    with ThreadPoolExecutor(CLIENTS) as clients:
        asked = [clients.submit(submit) for _ in range(CLIENTS)]
        try:
            yield
        finally:
            over.set()
    for one in asked:
        one.result()


def starts_after(back_at: float, world: World, client: ChaosClient, verdict: Verdict) -> None:
    """A task that is submitted now starts in time."""
    probe = client.submit_stubbornly(work(), key=new_id())
    took = world.started(probe, patience=3 * STARTS_WITHIN).at - back_at
    verdict.time(STORE_TO_START, took)
    assert took < STARTS_WITHIN


@pytest.mark.chaos
@pytest.mark.parametrize("cycles", [1, 10])
def test_nothing_that_a_store_acknowledged_before_it_was_killed_is_lost(
    cycles: int, world: World, client: ChaosClient, verdict: Verdict
) -> None:
    pids = [part.pid for part in (*world.apis, *world.workers)]
    with Watcher(client), load(client):
        for _ in range(cycles):
            accepted = len(client.accepted)
            until(lambda n=accepted: len(client.accepted) >= n + 20, "20 tasks more")  # type: ignore[misc]
            world.kill_store()
            world.restart_store()
            starts_after(time.monotonic(), world, client, verdict)
    ended = client.all_final()

    assert {task["status"] for task in ended} == {"completed"}
    assert [part.pid for part in (*world.apis, *world.workers)] == pids
    assert all(part.is_alive for part in (*world.apis, *world.workers))
    verdict.check(world, client)


@pytest.mark.chaos
def test_after_a_store_that_was_away_for_longer_than_a_lease_everything_goes_on(
    world: World, client: ChaosClient, verdict: Verdict
) -> None:
    task_ids = [client.submit(work(tick(LONG), only_attempts=(1,))) for _ in range(20)]
    for task_id in task_ids:
        world.started(task_id)

    world.kill_store()
    killed_at = time.monotonic()
    for task_id in task_ids:
        world.happened(task_id, "cancelled", patience=2 * LEASE)
    time.sleep(3 * LEASE)
    world.restart_store()
    starts_after(time.monotonic(), world, client, verdict)
    ended = client.all_final()

    assert stopped_in_time(killed_at, task_ids, world, verdict)
    assert {(task["status"], task["attempt"]) for task in ended if task["task_id"] in task_ids} == {("completed", 2)}
    verdict.check(world, client)


@pytest.mark.parametrize("seconds", [LEASE + 1, pytest.param(30, marks=pytest.mark.chaos)])
def test_workers_stop_their_tasks_before_the_lease_ends_when_the_store_stands_still(
    seconds: float, world: World, client: ChaosClient, verdict: Verdict
) -> None:
    task_ids = [client.submit(work(tick(LONG), only_attempts=(1,))) for _ in range(20)]
    for task_id in task_ids:
        world.started(task_id)

    world.freeze(world.store)
    frozen_at = time.monotonic()
    for task_id in task_ids:
        world.happened(task_id, "cancelled", patience=2 * LEASE)
    time.sleep(max(frozen_at + seconds - time.monotonic(), 0))
    world.thaw(world.store)
    starts_after(time.monotonic(), world, client, verdict)
    ended = client.all_final()

    assert stopped_in_time(frozen_at, task_ids, world, verdict)
    assert {(task["status"], task["attempt"]) for task in ended if task["task_id"] in task_ids} == {("completed", 2)}
    verdict.check(world, client)


def stopped_in_time(lost_at: float, task_ids: list[str], world: World, verdict: Verdict) -> bool:
    """Whether the first attempts stopped before anybody else may take the tasks: the lease was renewed before that."""
    took = last_tick(world, *task_ids, attempt=1) - lost_at
    verdict.time(STORE_TO_STOPPED, took)
    return took < LEASE


def last_tick(world: World, *task_ids: str, attempt: int) -> float:
    return max(event.at for event in world.events(*task_ids, kind="tick") if event.attempt == attempt)


@pytest.fixture
def cut_off(world: World) -> Iterator[Proxy]:
    """The way to the store of a third worker."""
    proxy = world.proxy_to("store")
    part = world.start_worker(**store_by(proxy))
    yield proxy
    proxy.heal()
    world.workers.remove(part)
    part.close()


CUTS = {
    # What happens to the way, and which attempts the tasks then end in.
    "frozen": (Proxy.freeze, {2}),
    "refused": (Proxy.refuse, {2}),
    # New connections work: whoever notices in time keeps the lease.
    "forgotten": (Proxy.abandon, {1, 2}),
}


@pytest.mark.chaos
@pytest.mark.parametrize("cut", CUTS)
def test_a_worker_that_lost_the_way_to_the_store_has_stopped_before_another_takes_over(
    cut: str, cut_off: Proxy, world: World, client: ChaosClient, verdict: Verdict
) -> None:
    act, attempts = CUTS[cut]
    pid = world.workers[-1].pid
    task_ids = [client.submit(work(tick(5 * LEASE), only_attempts=(1,))) for _ in range(30)]
    held = [task_id for task_id in task_ids if world.started(task_id).pid == pid]

    act(cut_off)
    ended = {task["task_id"]: task for task in client.all_final()}
    cut_off.heal()
    until(lambda: world.started(client.submit(work())).pid == pid, "it takes tasks again", patience=STARTS_WITHIN)
    client.all_final()

    assert held
    assert {ended[task_id]["attempt"] for task_id in held} <= attempts
    for task_id in held:
        if ended[task_id]["attempt"] > 1:
            assert last_tick(world, task_id, attempt=1) < world.started(task_id, times=2).at
    assert {task["status"] for task in ended.values()} == {"completed"}
    verdict.check(world, client, spare_executions=1)


@pytest.mark.chaos
@pytest.mark.timeout(400)
def test_with_a_slow_store_and_one_in_ten_transmissions_broken_everything_is_done(
    start_world: StartWorld, verdict: Verdict
) -> None:
    attempts = 10
    settings = {"LEASE_SEC": "10", "HEARTBEAT_SEC": "2", "TASK_MAX_ATTEMPTS": str(attempts)}
    world = start_world(workers=0, apis=0, settings=settings)
    proxy = world.proxy_to("store")
    world.start_api(**store_by(proxy))
    for _ in range(2):
        world.start_worker(**store_by(proxy))
    client = world.client()

    # Two hundred milliseconds for an answer.
    proxy.delay(0.1)
    proxy.lose(0.1)
    with ThreadPoolExecutor(8) as clients:
        asked = [clients.submit(submit_one, client) for _ in range(100)]
        task_ids = {one.result(180) for one in asked}
    ended = client.all_final(patience=180)
    pids = {part.pid for part in world.workers if part.is_alive}
    proxy.heal()

    assert len(task_ids) == len(ended) == 100
    assert {task["status"] for task in ended} == {"completed"}
    assert pids == {part.pid for part in world.workers}
    verdict.check(world, client, spare_executions=attempts - 1)


def submit_one(client: ChaosClient) -> str:
    return client.submit_stubbornly(work(effect("mail"), sleep(0.5)), key=new_id(), patience=120)


@pytest.mark.chaos
def test_whoever_is_started_before_the_store_waits_for_it(world: World, client: ChaosClient, verdict: Verdict) -> None:
    client.submit(work())
    for part in (*world.apis, *world.workers):
        part.kill()
    world.kill_store()

    started = world.revive()
    time.sleep(3 * LEASE)
    world.restart_store()
    for part in started:
        part.process.says(part.ready)
    starts_after(time.monotonic(), world, client, verdict)
    client.all_final()

    # A worker that took its long start for a dead loop would be gone by now.
    assert all(part.is_alive for part in started)
    verdict.check(world, client)
