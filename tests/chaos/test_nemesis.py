"""Faults at random under load; and that the same seed gives the same faults."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from app.ids import new_id
from tests.chaos.client import ChaosClient, Watcher
from tests.chaos.conftest import StartWorld
from tests.chaos.nemesis import (
    Nemesis,
    Strike,
    drain_worker,
    kill_api,
    kill_worker,
    pause_worker,
    plan,
    restart_broker,
    restart_store,
)
from tests.chaos.verdict import Verdict
from tests.chaos.work import Work, effect, fail, sleep, tick, work

SECONDS = 60
CLIENTS = 4
STRIKES: dict[str, Strike] = {
    "kill worker": kill_worker,
    "pause worker": pause_worker,
    "drain worker": drain_worker,
    "kill api": kill_api,
    "restart broker": restart_broker,
    "restart store": restart_store,
}
# More attempts than a minute of faults can take from one task.
ATTEMPTS = {"TASK_MAX_ATTEMPTS": "20"}
KINDS: tuple[Work, ...] = (
    work(),
    work(sleep(0.3)),
    work(tick(2)),
    work(effect("mail"), sleep(0.5), effect("post")),
    work(sleep(0.2), fail(), only_attempts=(1,)),
)


def test_the_same_seed_gives_the_same_faults() -> None:
    first, again, other = (plan(seed, sorted(STRIKES), seconds=SECONDS) for seed in (7, 7, 8))

    assert first == again
    assert first != other


def test_a_plan_is_as_long_as_it_should_be_and_uses_every_kind() -> None:
    blows = plan(7, sorted(STRIKES), seconds=SECONDS)

    assert {blow.kind for blow in blows} == set(STRIKES)
    assert SECONDS <= sum(blow.wait + blow.hold for blow in blows) < SECONDS + 3


@pytest.mark.chaos
def test_every_promise_holds_while_everything_dies_at_random(start_world: StartWorld, verdict: Verdict) -> None:
    world = start_world(workers=3, settings=ATTEMPTS)
    client, over = world.client(), threading.Event()

    def submit_for_ever(number: int) -> None:
        while not over.wait(0.1):
            number += 1
            client.submit_stubbornly(KINDS[number % len(KINDS)], key=new_id(), patience=60)

    with Watcher(client), ThreadPoolExecutor(CLIENTS) as clients:
        load = [clients.submit(submit_for_ever, number) for number in range(CLIENTS)]
        try:
            Nemesis(world, STRIKES).run(seconds=SECONDS)
        finally:
            over.set()
        for one in load:
            one.result(60)
        ended = client.all_final(patience=90)

    assert len(ended) > SECONDS
    assert {task["status"] for task in ended} == {"completed"}
    assert_history_is_gapless(client)
    verdict.check(world, client)
    world.verify()


def assert_history_is_gapless(client: ChaosClient) -> None:
    for snapshot in client.snapshots:
        assert [entry["seq"] for entry in snapshot.task["history"]] == list(range(1, len(snapshot.task["history"]) + 1))
