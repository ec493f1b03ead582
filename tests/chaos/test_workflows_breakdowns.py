"""What executions stand on breaks: the broker, the store, the way to it, a worker by its step, or a deploy."""

import time
from collections.abc import Callable

import pytest

from tests.chaos.client import ChaosClient
from tests.chaos.execution_verdict import check_executions, steps_of
from tests.chaos.measurements import TERM_TO_EXIT
from tests.chaos.proxy import Proxy
from tests.chaos.verdict import Verdict
from tests.chaos.work import effect, kill_worker, sleep
from tests.chaos.workflows import Executions, Json, chain, does, fan_out, workflow
from tests.chaos.world import World, store_by
from tests.processes import until

FINAL = frozenset({"completed", "failed", "cancelled"})
LINKS = 30
ITEMS = 60


@pytest.fixture
def executions(client: ChaosClient) -> Executions:
    return Executions(client)


def begin_some(executions: Executions) -> list[str]:
    """Chains and fan-outs that take a few seconds."""
    links = executions.store(chain("links", LINKS, sleep(0.1), effect("mail")))
    items = executions.store(fan_out("items", ITEMS, sleep(0.5), effect("mail"), max_parallel=10))
    return [executions.try_begin(name).work_id for name in (links, items) * 3]


def all_is_as_it_should_be(world: World, executions: Executions) -> bool:
    """Each ended with what an undisturbed one answers, and did everything at least once."""
    expected = {"links": LINKS * "a", "items": [str(number) for number in range(ITEMS)]}
    for execution in executions.all_final(patience=90):
        assert execution["status"] == "completed", execution
        assert execution["outputs"] == {"said": expected[execution["workflow"]["name"]]}
        ids = [one["_id"] for one in steps_of(world, execution["execution_id"]).values() if was_claimed(one)]
        assert {one.task_id for one in world.events(*ids, kind="effect")} == set(ids)
    return True


def was_claimed(step: Json) -> bool:
    """Not what only holds other steps."""
    return any(entry["reason"] == "claimed" for entry in step["history"])


def flush(world: World) -> None:
    """The broker comes back, and knows nothing."""
    world.kill_broker()
    world.restart_broker()


def stay_without_broker(world: World) -> None:
    world.kill_broker()
    time.sleep(4)
    world.restart_broker()


def freeze_broker(world: World) -> None:
    world.freeze(world.broker)
    time.sleep(4)
    world.thaw(world.broker)


def restart_store(world: World) -> None:
    world.kill_store()
    world.restart_store()


def stay_without_store(world: World) -> None:
    """Longer than a lease."""
    world.kill_store()
    time.sleep(5)
    world.restart_store()


def freeze_store(world: World) -> None:
    world.freeze(world.store)
    time.sleep(1)
    world.thaw(world.store)


def pause_a_worker(world: World) -> None:
    """Longer than its lease; it wakes up as one that others took over from."""
    world.workers[0].pause()
    time.sleep(4)
    world.workers[0].resume()


BREAKDOWNS = (
    flush,
    stay_without_broker,
    freeze_broker,
    restart_store,
    stay_without_store,
    freeze_store,
    pause_a_worker,
)


@pytest.mark.chaos
@pytest.mark.parametrize("breakdown", BREAKDOWNS, ids=lambda one: one.__name__)
def test_executions_outlive_a_breakdown(
    breakdown: Callable[[World], None], world: World, executions: Executions, verdict: Verdict
) -> None:
    begun = begin_some(executions)
    until(lambda: len(world.events(kind="effect")) > len(begun), "they are under way")

    breakdown(world)

    assert all_is_as_it_should_be(world, executions)
    check_executions(verdict, world, executions, spare=2)


@pytest.mark.chaos
@pytest.mark.parametrize("lost", [Proxy.reset, Proxy.abandon], ids=["reset", "forgotten"])
def test_executions_outlive_a_way_to_the_store_that_breaks_again_and_again(
    lost: Callable[[Proxy], None], world: World, executions: Executions, verdict: Verdict
) -> None:
    proxy = world.proxy_to("store")
    for part in world.workers:
        part.kill()
    world.faults.clear()
    for part in world.workers:
        part.start(**store_by(proxy))
    begin_some(executions)

    for _ in range(6):
        time.sleep(0.7)
        lost(proxy)

    assert all_is_as_it_should_be(world, executions)
    check_executions(verdict, world, executions, spare=6)


@pytest.mark.chaos
def test_a_rolling_restart_fails_and_charges_nothing(world: World, executions: Executions, verdict: Verdict) -> None:
    begin_some(executions)
    long_one = executions.begin(fan_out("outlives-the-grace", 4, sleep(12)))
    until(lambda: len(world.events(kind="start")) > 30, "they are under way")

    for part in world.workers:
        asked_at = time.monotonic()
        part.terminate()
        assert part.wait(patience=30) == 0
        verdict.time(f"{TERM_TO_EXIT} (executions)", time.monotonic() - asked_at)
        part.start()
    ended = executions.final(long_one, patience=60)
    executions.all_final()
    documents = [one for found in executions.accepted for one in steps_of(world, found).values()]

    assert ended["status"] == "completed"
    assert {one["attempt"] for one in documents if was_claimed(one)} == {1}
    assert not [entry for one in documents for entry in one["history"] if entry["reason"] == "worker_lost"]
    check_executions(verdict, world, executions, spare=len(world.workers))


@pytest.mark.chaos
def test_a_step_that_kills_its_workers_fails_its_execution_and_no_other(
    world: World, executions: Executions, verdict: Verdict
) -> None:
    neighbour = executions.begin(chain("neighbour", 40, sleep(0.3), effect("mail")))
    steps = {"beside": does(sleep(1)), "poison": does(sleep(0.5), kill_worker())}
    poisoned = executions.begin(workflow("poisoned", steps, **{"finally": {"bye": does(effect("bye"))}}))

    def both_ended() -> list[Json]:
        world.revive()
        found = [executions.client.get(f"/v1/executions/{one}") for one in (poisoned, neighbour)]
        return [one for one in found if one] if all(one and one["status"] in FINAL for one in found) else []

    dead, alive = until(both_ended, "both end", patience=120)
    poison = steps_of(world, poisoned)["poison"]

    assert (dead["status"], dead["error"]["type"], dead["error"]["path"]) == ("failed", "WORKER_LOST", "poison")
    assert poison["attempt"] == 3
    assert (alive["status"], alive["outputs"]) == ("completed", {"said": 40 * "a"})
    assert len(world.events(*[one["_id"] for one in steps_of(world, poisoned).values()], kind="effect")) == 1
    check_executions(verdict, world, executions, spare=3)
