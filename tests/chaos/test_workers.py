"""Workers die, stand still or lose their loop while they hold tasks."""

import time

import pytest

from tests.chaos.checker import recovery_times
from tests.chaos.client import ChaosClient
from tests.chaos.conftest import StartWorld
from tests.chaos.failpoints import VARIABLE
from tests.chaos.verdict import Verdict
from tests.chaos.work import block, effect, fail, sleep, stop_loop, tick, work
from tests.chaos.world import USUAL, World
from tests.processes import until
from tests.scenarios.stack import reasons

LEASE = 2.0
SLACK = 2.0
EXIT_LOOP_DEAD = 70


def test_what_ran_on_a_killed_worker_runs_again_soon_and_ends_once(
    world: World, client: ChaosClient, verdict: Verdict
) -> None:
    task_ids = [client.submit(work(sleep(4), only_attempts=(1,))) for _ in range(20)]
    for task_id in task_ids:
        world.started(task_id)

    world.workers[0].kill()
    world.revive()
    ended = client.all_final()

    assert {task["status"] for task in ended} == {"completed"}
    assert recovery_times(verdict.check(world, client, recovery=LEASE + SLACK))


@pytest.mark.chaos
def test_with_the_usual_lease_too_it_runs_again_within_the_lease_and_two_seconds(
    start_world: StartWorld, verdict: Verdict
) -> None:
    world = start_world(workers=2, settings=USUAL)
    client = world.client()
    task_ids = [client.submit(work(sleep(6), only_attempts=(1,))) for _ in range(100)]
    for task_id in task_ids:
        world.started(task_id)

    world.workers[0].kill()
    ended = client.all_final(patience=60)

    assert {task["status"] for task in ended} == {"completed"}
    assert recovery_times(verdict.check(world, client, recovery=15 + SLACK))


DEATHS = {
    # Where, what the task does in its first attempt, and how often it is executed in all.
    "claim.before": ((), 1),
    "claim.after": ((), 1),
    "handle.before": ((), 1),
    "settle.after": ((), 1),
    "aftermath.before": ((), 1),
    "mark_rung.after": ((fail(),), 2),
    "settle.after:retry": ((fail(),), 2),
}


@pytest.mark.chaos
@pytest.mark.parametrize("death", DEATHS)
def test_wherever_a_worker_dies_the_task_goes_on_once(
    death: str, world: World, client: ChaosClient, verdict: Verdict
) -> None:
    steps, executions = DEATHS[death]
    world.leave_one_worker(f"{death.partition(':')[0]}:kill")
    task_id = client.submit(work(*steps, only_attempts=(1,)))

    assert world.workers[0].wait() < 0
    world.revive()
    task = client.final(task_id)

    assert task["status"] == "completed"
    assert len(world.events(task_id, kind="start")) == executions
    verdict.check(world, client, spare_executions=0)


@pytest.mark.chaos
def test_a_sweep_that_dies_after_it_released_a_task_leaves_it_to_the_next_one(
    start_world: StartWorld, verdict: Verdict
) -> None:
    world = start_world(workers=1)
    client = world.client()
    task_id = client.submit(work(sleep(1), only_attempts=(1,)))
    world.started(task_id)
    world.workers[0].kill()

    world.start_worker(**{VARIABLE: "release.after:kill"})
    assert world.workers[1].wait() < 0
    world.revive()
    task = client.final(task_id)

    assert reasons(task) == ["accepted", "claimed", "worker_lost", "claimed", "finished"]
    verdict.check(world, client, spare_executions=1)


def test_a_worker_that_stood_still_past_its_lease_stops_what_others_took_over(
    world: World, client: ChaosClient, verdict: Verdict
) -> None:
    # So long that it still has something to do when it wakes up.
    task_ids = [client.submit(work(tick(30), only_attempts=(1,))) for _ in range(12)]
    holders = {task_id: world.started(task_id).pid for task_id in task_ids}
    # Whichever took some: the broker need not share them out.
    zombie = next(part for part in world.workers if part.pid in holders.values())
    held = [task_id for task_id, pid in holders.items() if pid == zombie.pid]

    zombie.pause()
    for task_id in held:
        world.started(task_id, times=2)
    zombie.resume()
    resumed_at = time.monotonic()
    for task_id in held:
        until(lambda i=task_id: stopped(world, i, zombie.pid), f"the zombie stops {task_id}", patience=2)  # type: ignore[misc]
    ended = [client.final(task_id) for task_id in held]
    for task_id in set(task_ids) - set(held):
        client.cancel(task_id)
    client.all_final()

    assert held
    assert {task["status"] for task in ended} == {"completed"}
    for task_id in held:
        assert not late_work(world, task_id, zombie.pid, after=resumed_at + 1.0)
    verdict.check(world, client, recovery=LEASE + SLACK)


def stopped(world: World, task_id: str, pid: int) -> bool:
    return any(event.pid == pid for event in world.events(task_id, kind="cancelled"))


def late_work(world: World, task_id: str, pid: int, *, after: float) -> list[str]:
    return [event.kind for event in world.events(task_id) if event.pid == pid and event.at > after]


@pytest.mark.chaos
def test_every_late_write_of_a_zombie_is_refused(start_world: StartWorld, verdict: Verdict) -> None:
    # Each write is on its way when the process is stopped, and goes on when it wakes up.
    world = start_world(workers=1)
    client = world.client()
    zombie = world.start_worker(**{VARIABLE: "settle.before:hang=3@*"})
    task_ids = [client.submit(work(effect("mail"))) for _ in range(40)]
    for task_id in task_ids:
        world.happened(task_id, "end")
    held = [task_id for task_id in task_ids if world.events(task_id, kind="end")[-1].pid == zombie.pid]

    zombie.pause()
    for task_id in held:
        world.happened(task_id, "settled")
    zombie.resume()
    refused = [world.happened(task_id, "write_refused") for task_id in held]

    assert held
    assert {event.pid for event in refused} == {zombie.pid}
    assert {task["status"] for task in client.all_final()} == {"completed"}
    verdict.check(world, client)


def test_a_worker_whose_loop_is_blocked_ends_itself_and_the_others_go_on(
    world: World, client: ChaosClient, verdict: Verdict
) -> None:
    blocking = client.submit(work(block(3 * LEASE), only_attempts=(1,)))
    blocked = next(part for part in world.workers if part.pid == world.started(blocking).pid)
    began = time.monotonic()
    others = [client.submit(work(sleep(0.1))) for _ in range(10)]

    code = blocked.wait(patience=5)
    world.revive()
    took = time.monotonic() - began
    ended = client.all_final()

    assert code == EXIT_LOOP_DEAD
    assert took < 5
    assert {task["status"] for task in ended} == {"completed"}
    assert client.read(blocking)["attempt"] == 2
    assert len(others) == 10
    verdict.check(world, client, spare_executions=1)


@pytest.mark.chaos
def test_a_worker_whose_loop_thread_died_ends_itself(world: World, client: ChaosClient, verdict: Verdict) -> None:
    task_id = client.submit(work(stop_loop(), only_attempts=(1,)))
    broken = next(part for part in world.workers if part.pid == world.started(task_id).pid)

    code = broken.wait(patience=5)
    world.revive()
    task = client.final(task_id)

    assert code == EXIT_LOOP_DEAD
    assert reasons(task) == ["accepted", "claimed", "worker_lost", "claimed", "finished"]
    verdict.check(world, client, spare_executions=1)
