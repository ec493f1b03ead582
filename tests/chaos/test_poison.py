"""A task that kills its worker each time ends in the dead letter, and those beside it get on."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Event, Thread

import pytest

from tests.chaos.client import FINAL, ChaosClient, Json
from tests.chaos.verdict import Verdict
from tests.chaos.work import kill_worker, sleep, work
from tests.chaos.world import World
from tests.processes import until

MOST_ATTEMPTS = 3


def revived_until_final(world: World, client: ChaosClient, task_id: str, *, patience: float = 40.0) -> Json:
    """The task's end, while whatever dies meanwhile is started again."""

    def look() -> Json | None:
        world.revive()
        task = client.find(task_id)
        return task if task and task["status"] in FINAL else None

    return until(look, f"{task_id} ends", patience=patience)


@contextmanager
def passers_by(client: ChaosClient) -> Iterator[list[str]]:
    """Short tasks, one after the other, until left."""
    task_ids: list[str] = []
    over = Event()

    def submit() -> None:
        while not over.wait(0.2):
            task_ids.append(client.submit(work(sleep(0.1))))

    thread = Thread(target=submit, name="chaos-passers-by")
    thread.start()
    try:
        yield task_ids
    finally:
        over.set()
        thread.join(30)


@pytest.mark.chaos
def test_a_poison_task_is_given_up_after_its_attempts_and_the_others_progress(
    world: World, client: ChaosClient, verdict: Verdict
) -> None:
    with passers_by(client) as others:
        poison = client.submit(work(sleep(0.3), kill_worker()))
        dead = revived_until_final(world, client, poison)
    ended = [revived_until_final(world, client, task_id) for task_id in others]

    assert (dead["status"], dead["error"]["type"], dead["attempt"]) == ("failed", "WORKER_LOST", MOST_ATTEMPTS)
    assert {task["status"] for task in ended} == {"completed"}
    verdict.check(world, client, spare_executions=MOST_ATTEMPTS)


@pytest.mark.chaos
def test_innocent_neighbours_of_a_poison_task_survive_it_though_they_take_longer_than_it_lets_them(
    world: World, client: ChaosClient, verdict: Verdict
) -> None:
    # Longer than the time between two deaths, so that each death of a worker finds them there again.
    neighbours = [client.submit(work(sleep(6))) for _ in range(6)]
    poisons = [client.submit(work(sleep(0.5), kill_worker())) for _ in range(2)]

    dead = [revived_until_final(world, client, task_id, patience=90) for task_id in poisons]
    ended = [revived_until_final(world, client, task_id, patience=120) for task_id in neighbours]

    assert {(task["status"], task["error"]["type"]) for task in dead} == {("failed", "WORKER_LOST")}
    assert {task["status"] for task in ended} == {"completed"}
    verdict.check(world, client, spare_executions=2 * (MOST_ATTEMPTS + 2))


@pytest.mark.chaos
def test_a_poison_task_can_be_revived_by_hand_and_dies_again(
    world: World, client: ChaosClient, verdict: Verdict
) -> None:
    poison = client.submit(work(kill_worker()))
    first = revived_until_final(world, client, poison)

    began = time.monotonic()
    assert client.retry(poison).status == 202
    until(lambda: client.read(poison)["status"] not in FINAL, "the second series begins")
    second = revived_until_final(world, client, poison)

    assert first["error"]["type"] == second["error"]["type"] == "WORKER_LOST"
    assert len(world.events(poison, kind="start")) == 2 * MOST_ATTEMPTS
    assert time.monotonic() - began < 40
    verdict.check(world, client, spare_executions=2 * MOST_ATTEMPTS)
