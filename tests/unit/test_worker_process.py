"""One worker process does every kind of job: with the same slots, the same lease and one end."""

import asyncio
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from types import SimpleNamespace
from typing import Any, cast

import pytest

from app.bootstrap.execution import Execution
from app.ids import new_id
from app.jobs.slots import Slots
from tests.job_builders import LEASE, Recorder
from worker.event_loop import EventLoopThread
from worker.process import WorkerProcess

PATIENCE = 10.0
TASKS, STEPS = "tasks", "steps"
KINDS = (TASKS, STEPS)


class Runner:
    """Runs until it is told to stop, and remembers what it was told."""

    def __init__(self) -> None:
        self.started: list[tuple[str, str]] = []
        self.told: list[str] = []
        self.has_started = threading.Event()
        self.may_end = asyncio.Event()
        self.is_idle = False

    async def run(self, job_id: str, *, worker: str) -> None:
        self.started.append((job_id, worker))
        self.has_started.set()
        await self.may_end.wait()

    def fence(self, worker: str) -> None:
        self.told.append(f"fence {worker}")

    def cancel(self, job_id: str) -> None:
        self.told.append(f"cancel {job_id}")

    def stop_all(self) -> None:
        self.told.append("stop")
        self.may_end.set()


@dataclass(slots=True)
class Store:
    """What the kernel would find in one collection."""

    cancelled: list[str]
    forgotten_by: list[str] = field(default_factory=list)

    async def list_cancel_requests(self, worker: str) -> list[str]:
        return self.cancelled

    async def release_forgotten(self, worker: str) -> int:
        self.forgotten_by.append(worker)
        return 0


class Beat:
    """A heartbeat whose lease is lost when told so."""

    def __init__(self) -> None:
        self.worker_id: str | None = "w1"
        self.lose: Callable[[str], None] = lambda worker: None
        self.in_flight: Callable[[], int] = lambda: -1

    def start(self) -> None:
        """It has its lease already."""

    def stop(self) -> None:
        self.worker_id = None


class World:
    """A worker process around runners that do nothing."""

    def __init__(self, events: EventLoopThread, *, slots: int = 4, grace: timedelta = timedelta()) -> None:
        self.events = events
        self.beat = Beat()
        self.slots = Slots(slots)
        self.runners = {kind: Runner() for kind in KINDS}
        self.bells = {kind: Recorder() for kind in KINDS}
        self.stores = {kind: Store([f"{kind}-1"]) for kind in KINDS}
        self.closed = threading.Event()
        self.process = WorkerProcess(cast("Execution", self), events, identify=lambda: cast("Any", None), grace=grace)

    @property
    def worked(self) -> Mapping[str, Any]:
        return {
            kind: SimpleNamespace(
                runner=self.runners[kind],
                run=self.runners[kind].run,
                reconciler=self.stores[kind],
                jobs=SimpleNamespace(bell=self.bells[kind], recovery=self.stores[kind]),
            )
            for kind in KINDS
        }

    lease = LEASE

    def create_heartbeat(
        self, identify: Any, *, in_flight: Callable[[], int], on_lost: Callable[[str], None], watch: Any
    ) -> Beat:
        self.beat.lose, self.beat.in_flight = on_lost, in_flight
        return self.beat

    async def close(self) -> None:
        self.closed.set()


@pytest.fixture
def events() -> Iterator[EventLoopThread]:
    events = EventLoopThread()
    yield events
    events.stop()


@contextmanager
def draining(world: World) -> Iterator[threading.Thread]:
    thread = threading.Thread(target=world.process.drain)
    thread.start()
    yield thread
    thread.join(PATIENCE)
    assert not thread.is_alive()


def test_a_message_reaches_the_runner_of_its_kind_and_takes_a_slot(events: EventLoopThread) -> None:
    world, step = World(events), new_id()

    world.process.accept(STEPS, step)

    assert world.runners[STEPS].has_started.wait(PATIENCE)
    assert (world.runners[STEPS].started, world.runners[TASKS].started) == ([(step, "w1")], [])
    assert (world.slots.in_use, world.beat.in_flight()) == (1, 1)
    world.process.drain()
    assert world.slots.in_use == 0


def test_what_is_no_id_takes_no_slot(events: EventLoopThread) -> None:
    world = World(events)

    world.process.accept(STEPS, "../etc/passwd")

    assert world.slots.in_use == 0
    assert world.runners[STEPS].started == []


def test_a_message_at_a_draining_worker_is_rung_again_with_the_bell_of_its_kind(events: EventLoopThread) -> None:
    world, step = World(events), new_id()
    world.process.stop_claiming()

    world.process.accept(STEPS, step)

    assert (world.bells[STEPS].rung, world.bells[TASKS].rung) == ([step], [])
    assert (world.slots.in_use, world.slots.holder()) == (0, None)


def test_without_a_lease_nobody_may_claim(events: EventLoopThread) -> None:
    world = World(events)
    with_lease = world.slots.holder()

    world.beat.worker_id = None

    assert (with_lease, world.slots.holder()) == ("w1", None)


def test_a_lost_lease_fences_every_kind(events: EventLoopThread) -> None:
    world = World(events)

    world.beat.lose("w1")
    events.run(asyncio.sleep(0))

    assert [world.runners[kind].told for kind in KINDS] == [["fence w1"]] * 2


def test_a_drain_stops_every_kind_and_waits_for_slots_that_were_taken_on_the_event_loop(
    events: EventLoopThread,
) -> None:
    world = World(events, grace=timedelta(seconds=PATIENCE))
    assert world.slots.try_acquire()

    with draining(world):
        ended_early = world.closed.wait(0.05)
        world.slots.release()

    assert not ended_early
    assert world.closed.is_set()
    assert [world.runners[kind].told for kind in KINDS] == [["stop"]] * 2


def test_cancel_requests_and_forgotten_jobs_are_looked_for_in_every_kind(events: EventLoopThread) -> None:
    world = World(events)
    world.runners[TASKS].is_idle = True

    events.run(world.process._heed_cancel_requests())
    events.run(world.process._reconcile())

    assert [world.runners[kind].told for kind in KINDS] == [[], ["cancel steps-1"]]
    assert [world.stores[kind].forgotten_by for kind in KINDS] == [["w1"]] * 2
