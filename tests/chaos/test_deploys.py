"""Workers are replaced while there is work: nobody's task fails, and no attempt is charged."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from pymongo import MongoClient

from tests.chaos.client import ChaosClient, Watcher
from tests.chaos.measurements import TERM_TO_EXIT
from tests.chaos.verdict import Verdict
from tests.chaos.work import sleep, work
from tests.chaos.world import DATABASE, Json, Part, World
from tests.scenarios.stack import QUICK, reasons

GRACE = float(QUICK["DRAIN_GRACE_SEC"])
SLACK = 2.0
# Fields that documents of the first version do not have.
YOUNGER_FIELDS = ("lane", "rank", "alone")


@contextmanager
def load(client: ChaosClient, *, seconds: float, pause: float = 0.05) -> Iterator[None]:
    """Submits tasks that take ``seconds`` each, from a thread of its own, until left."""
    over = threading.Event()

    def submit() -> None:
        while not over.wait(pause):
            client.submit(work(sleep(seconds)))

    thread = threading.Thread(target=submit, name="chaos-load")
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join(30)


def drained(part: Part, verdict: Verdict, *, asked_at: float) -> None:
    code = part.wait(patience=30)
    took = time.monotonic() - asked_at
    verdict.time(TERM_TO_EXIT, took)
    assert took < GRACE + SLACK, f"{part.name} took {took:.1f} s to end"
    assert code == 0


@pytest.mark.chaos
@pytest.mark.parametrize("rounds", [1, 8])
def test_a_rolling_restart_under_load_fails_and_charges_nothing(
    rounds: int, world: World, client: ChaosClient, verdict: Verdict
) -> None:
    with Watcher(client), load(client, seconds=0.3):
        for _ in range(rounds):
            for part in world.workers:
                began = time.monotonic()
                part.terminate()
                drained(part, verdict, asked_at=began)
                part.start()
    ended = client.all_final()

    assert {task["status"] for task in ended} == {"completed"}
    assert {task["attempt"] for task in ended} == {1}
    verdict.check(world, client)


@pytest.mark.chaos
def test_what_outlives_the_grace_period_is_handed_over_uncharged_to_the_new_worker_beside_the_old(
    world: World, client: ChaosClient, verdict: Verdict
) -> None:
    new = world.start_worker()
    old = world.workers[:2]
    task_ids = [client.submit(work(sleep(GRACE + 3))) for _ in range(20)]
    for task_id in task_ids:
        world.started(task_id)

    began = time.monotonic()
    for part in old:
        part.terminate()
    for part in old:
        drained(part, verdict, asked_at=began)
    ended = client.all_final()
    world.workers.remove(new)
    new.close()

    assert {task["status"] for task in ended} == {"completed"}
    assert {task["attempt"] for task in ended} == {1}
    assert any("worker_draining" in reasons(task) for task in ended)
    verdict.check(world, client, spare_executions=1)


@pytest.mark.chaos
def test_tasks_that_an_older_version_stored_are_done(world: World, client: ChaosClient, verdict: Verdict) -> None:
    for part in world.workers:
        part.kill()
    task_ids = [client.submit(work()) for _ in range(3)]
    with MongoClient[Json](world.store.mongo_uri) as store:
        stored = {"_id": {"$in": task_ids}}
        store[DATABASE]["tasks"].update_many(stored, {"$unset": dict.fromkeys(YOUNGER_FIELDS, "")})

    world.revive()
    ended = client.all_final()

    assert {task["status"] for task in ended} == {"completed"}
    verdict.check(world, client, spare_executions=0)
