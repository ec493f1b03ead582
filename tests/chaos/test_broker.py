"""The broker dies, stands still, forgets, fills up, refuses and repeats itself: that costs time, and no task."""

import pickle
import random
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from app.devstack.ports import free_ports
from app.ids import new_id
from tests.chaos.client import ChaosClient
from tests.chaos.conftest import StartWorld
from tests.chaos.measurements import BROKER_TO_START
from tests.chaos.messages import Messages, messages_of
from tests.chaos.nemesis import chosen_seed
from tests.chaos.verdict import Verdict
from tests.chaos.work import effect, gate, work
from tests.chaos.world import World, broker_by
from tests.processes import until

STARTS_WITHIN = 10.0
# Twice the health check's interval and a second, then a new connection, and the sweep's ring for what was lost.
NOTICED_WITHIN = 15.0
SLOTS = 20
SLOWEST_ANSWER = 0.5
PACE = 0.05
# How long to look at what is usual on this machine, under this load.
USUALLY = 1.0
# At most once a second, and a few times when it begins.
RECONNECTS = "Connection to broker lost"


@pytest.fixture
def messages(world: World) -> Iterator[Messages]:
    with messages_of(world.broker) as found:
        yield found


def pids_of(world: World) -> list[int]:
    return [part.pid for part in (*world.apis, *world.workers) if part.is_alive]


def submit_for(seconds: float, client: ChaosClient) -> float:
    """Submit at an even pace; every task has to be accepted at once. The 99th percentile of the time that took."""
    ends_at, first = time.monotonic() + seconds, len(client.answers)
    while time.monotonic() < ends_at:
        client.submit(work())
        time.sleep(PACE)
    took = sorted(one.at - one.sent_at for one in client.answers[first:])
    return took[int(len(took) * 0.99)]


def probe_starts(
    back_at: float, world: World, client: ChaosClient, verdict: Verdict, *, within: float = STARTS_WITHIN
) -> None:
    """A task that is submitted now starts in time."""
    probe = client.submit(work())
    note_start(world.started(probe, patience=3 * within).at - back_at, verdict, within=within)


def backlog_starts(back_at: float, world: World, client: ChaosClient, verdict: Verdict) -> None:
    """The first of the tasks that wait starts in time."""
    client.submit(work())
    task_ids = client.accepted

    def find_first() -> list[float]:
        return [event.at for event in world.events(*task_ids, kind="start") if event.at > back_at]

    note_start(min(until(find_first, "a task starts", patience=3 * STARTS_WITHIN)) - back_at, verdict)


def note_start(took: float, verdict: Verdict, *, within: float = STARTS_WITHIN) -> None:
    verdict.time(BROKER_TO_START, took)
    assert took < within


@dataclass(slots=True)
class Crowd:
    """Tasks that take every slot, every thread of Celery that could wait with one, and a place in the queue."""

    world: World
    client: ChaosClient
    gate: Path
    task_ids: list[str] = field(default_factory=list)

    def gather(self) -> None:
        wanted = work(gate(self.gate))
        with ThreadPoolExecutor(8) as clients:
            self.task_ids = list(clients.map(lambda _: self.client.submit(wanted), range(4 * SLOTS)))
        until(lambda: self.count("start") == SLOTS * len(self.world.workers), "every slot is taken", patience=60)

    def count(self, kind: str) -> int:
        return len(self.world.events(*self.task_ids, kind=kind))

    def let_go(self) -> None:
        self.gate.touch()


def every_task_took_one_attempt(client: ChaosClient, *, patience: float = 60.0) -> bool:
    return {(task["status"], task["attempt"]) for task in client.all_final(patience=patience)} == {("completed", 1)}


@pytest.mark.chaos
@pytest.mark.timeout(600)
@pytest.mark.parametrize("cycles", [2, 20])
def test_full_workers_take_work_again_soon_after_their_broker_was_killed(
    cycles: int, start_world: StartWorld, verdict: Verdict, tmp_path: Path
) -> None:
    world = start_world(workers=2, settings={"WORKER_SLOTS": str(SLOTS)})
    client, pids = world.client(), pids_of(world)
    for number in range(cycles):
        crowd = Crowd(world, client, tmp_path / f"gate-{number}")
        crowd.gather()

        world.kill_broker()
        crowd.let_go()
        # Acknowledged late, tasks that ended during the outage were seen to stall a worker for ever.
        until(lambda c=crowd: c.count("end") >= SLOTS, "slots became free")  # type: ignore[misc]
        world.restart_broker()
        probe_starts(time.monotonic(), world, client, verdict)
        client.all_final()

    assert every_task_took_one_attempt(client)
    assert pids_of(world) == pids
    verdict.check(world, client, spare_executions=0)


@pytest.mark.chaos
def test_a_broker_that_forgot_everything_costs_no_task(
    start_world: StartWorld, verdict: Verdict, tmp_path: Path
) -> None:
    world = start_world(workers=2, settings={"WORKER_SLOTS": str(SLOTS)})
    client, pids, crowd = world.client(), pids_of(world), Crowd(world, world.client(), tmp_path / "gate")
    crowd.gather()

    with messages_of(world.broker) as messages:
        lost = messages.count()
        messages.command("FLUSHALL")
    crowd.let_go()
    backlog_starts(time.monotonic(), world, crowd.client, verdict)
    probe_starts(time.monotonic(), world, client, verdict)

    assert lost > 0
    assert every_task_took_one_attempt(crowd.client)
    assert pids_of(world) == pids
    verdict.check(world, client, crowd.client, spare_executions=0)


REFUSALS = {
    "a full": (["CONFIG", "SET", "maxmemory", "1"], ["CONFIG", "SET", "maxmemory", "0"]),
    # Of a server that nobody listens at: it stays a replica without a primary.
    "a read-only": (["REPLICAOF", "127.0.0.1", "{port}"], ["REPLICAOF", "NO", "ONE"]),
    "a lonely": (["CONFIG", "SET", "min-replicas-to-write", "1"], ["CONFIG", "SET", "min-replicas-to-write", "0"]),
}


@pytest.mark.parametrize(
    ("kind", "seconds"),
    [
        pytest.param("a read-only", 2, id="a read-only", marks=pytest.mark.chaos),
        *[pytest.param(kind, 20, id=f"{kind}, for long", marks=pytest.mark.chaos) for kind in REFUSALS],
    ],
)
def test_workers_outlast_a_broker_that_refuses_every_write(
    kind: str, seconds: float, world: World, client: ChaosClient, messages: Messages, verdict: Verdict
) -> None:
    refuse, allow = REFUSALS[kind]
    pids, usual = pids_of(world), submit_for(USUALLY, client)
    client.all_final()
    connected = count_said(world, RECONNECTS)

    messages.command(*[word.format(port=free_ports(1)[0]) for word in refuse])
    try:
        slowest = submit_for(seconds, client)
    finally:
        messages.command(*allow)
    backlog_starts(time.monotonic(), world, client, verdict)

    assert slowest < usual + SLOWEST_ANSWER
    assert count_said(world, RECONNECTS) - connected <= (seconds + 4) * len(world.workers)
    assert every_task_took_one_attempt(client)
    assert pids_of(world) == pids
    verdict.check(world, client, spare_executions=0)


def count_said(world: World, words: str) -> int:
    """How often the workers said this in all, in this life of theirs."""
    return sum(part.process.read().count(words) for part in world.workers)


@pytest.mark.chaos
@pytest.mark.parametrize("seconds", [5, pytest.param(60, id="60, longer than any timeout")])
def test_a_frozen_broker_delays_no_request(seconds: float, world: World, client: ChaosClient, verdict: Verdict) -> None:
    pids, usual = pids_of(world), submit_for(USUALLY, client)
    client.all_final()

    world.freeze(world.broker)
    slowest = submit_for(seconds, client)
    world.thaw(world.broker)
    backlog_starts(time.monotonic(), world, client, verdict)

    assert slowest < usual + SLOWEST_ANSWER
    assert every_task_took_one_attempt(client)
    assert pids_of(world) == pids
    verdict.check(world, client, spare_executions=0)


@pytest.mark.chaos
@pytest.mark.parametrize("seconds", [5, pytest.param(120, marks=pytest.mark.timeout(400))])
def test_while_the_broker_is_down_every_task_is_accepted_at_once_and_done_later(
    seconds: float, world: World, client: ChaosClient, verdict: Verdict
) -> None:
    pids, usual = pids_of(world), submit_for(USUALLY, client)
    client.all_final()

    world.kill_broker()
    slowest = submit_for(seconds, client)
    world.restart_broker()
    backlog_starts(time.monotonic(), world, client, verdict)

    assert slowest < usual + SLOWEST_ANSWER
    assert every_task_took_one_attempt(client)
    assert pids_of(world) == pids
    verdict.check(world, client, spare_executions=0)


@pytest.mark.chaos
def test_a_worker_notices_that_the_network_forgot_its_connections_to_the_broker(
    start_world: StartWorld, verdict: Verdict
) -> None:
    world = start_world(workers=0)
    client, proxy = world.client(), world.proxy_to("broker")
    world.start_worker(**broker_by(proxy))
    client.final(client.submit(work()))

    proxy.abandon()
    probe_starts(time.monotonic(), world, client, verdict, within=NOTICED_WITHIN)

    assert every_task_took_one_attempt(client)
    verdict.check(world, client, spare_executions=0)


@pytest.mark.chaos
@pytest.mark.parametrize("count", [30, 500])
def test_messages_that_come_three_times_and_late_and_in_any_order_start_each_task_once(
    count: int, world: World, client: ChaosClient, messages: Messages, verdict: Verdict
) -> None:
    for part in world.workers:
        part.kill()
    world.faults.clear()
    dice = random.Random(chosen_seed())
    for _ in range(count):
        client.submit(work(effect("mail")))
    until(lambda: messages.count() == count, "a message for each task")
    copies = 3 * messages.take_all()
    dice.shuffle(copies)

    messages.put(copies[:count])
    world.revive()
    messages.put(copies[count : 2 * count])
    ended = client.all_final(patience=60)
    messages.put(copies[2 * count :])
    until(lambda: messages.count() == 0, "the late ones are taken")
    client.final(client.submit(work()))

    assert {(task["status"], task["attempt"]) for task in ended} == {("completed", 1)}
    assert len(world.events(*client.accepted, kind="effect")) == count
    verdict.check(world, client, spare_executions=0)


@pytest.mark.chaos
def test_forged_messages_start_nothing_and_hurt_nobody(
    world: World, client: ChaosClient, messages: Messages, verdict: Verdict, tmp_path: Path
) -> None:
    pids, touched = pids_of(world), tmp_path / "executed"
    done = client.final(client.submit(work(effect("mail"))))
    pickled = pickle.dumps(([], {"task_id": Touch(touched)}, {}))

    messages.send_raw(pickled, content_type="application/x-python-serialize", content_encoding="binary")
    messages.send_raw(b"\x80\x04 not json", content_type="application/json", content_encoding="utf-8")
    messages.put([b"no message at all", b"{}", b"[1, 2]", b"null"])
    messages.send({"task_id": "../../etc/passwd"})
    messages.send({"task_id": {"$gt": ""}})
    messages.send({"task_id": done["task_id"]})
    messages.send({"task_id": new_id()})
    messages.send({"task_id": new_id()}, task="os.system")
    messages.send({"somebody": "else"})
    messages.send({"task_id": new_id(), "tenant_id": "another"})
    until(lambda: messages.count() == 0, "all of them are taken")
    client.all_final()
    until(lambda: count_said(world, "refused_id") == 2, "those of another form were refused")
    for _ in range(4 * len(pids)):
        client.final(client.submit(work()))

    assert not touched.exists()
    assert client.read(done["task_id"]) == done
    assert count_said(world, "worker.draining") == 0
    assert pids_of(world) == pids
    verdict.check(world, client, spare_executions=0)


class Touch:
    """Creates a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self._path,)
