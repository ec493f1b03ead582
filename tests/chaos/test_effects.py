"""A worker dies around an effect on the world outside: the key stays the same, and nobody fires blindly."""

from dataclasses import dataclass

import pytest

from tests.chaos.client import ChaosClient, Json
from tests.chaos.verdict import Verdict
from tests.chaos.work import send, work
from tests.chaos.world import World
from tests.scenarios.stack import reasons


def task_of_dying_worker(failpoint: str, world: World, client: ChaosClient, *, deduplicated: bool) -> Json:
    """The end of a task that sends a mail, whose worker died at this point in its first attempt."""
    worker = world.leave_one_worker(f"{failpoint}:kill")
    task_id = client.submit(work(send("mail", deduplicated=deduplicated)))
    assert worker.wait(patience=30) < 0
    world.revive()
    return client.final(task_id)


def keys_sent(world: World, task: Json) -> list[str]:
    return [event.detail for event in world.events(task["task_id"], kind="sent")]


@pytest.mark.chaos
def test_between_an_effect_and_its_commit_a_kill_repeats_the_attempt_and_not_the_effect(
    world: World, client: ChaosClient, verdict: Verdict
) -> None:
    task = task_of_dying_worker("settle.before", world, client, deduplicated=False)

    assert reasons(task) == ["accepted", "claimed", "worker_lost", "claimed", "finished"]
    assert len(keys_sent(world, task)) == 1
    verdict.check(world, client, spare_executions=1)


@dataclass(frozen=True, slots=True)
class Death:
    """Where it dies, how often the receiver hears of the effect in all, and whether the task can be completed."""

    place: str
    deduplicated: bool
    sent: int
    completed: bool = True


DEATHS = (
    Death("begin_effect.before", deduplicated=False, sent=1),
    Death("begin_effect.after", deduplicated=True, sent=1),
    # Nobody can tell this from a death after the sending.
    Death("begin_effect.after", deduplicated=False, sent=0, completed=False),
    Death("mark_effect.before", deduplicated=True, sent=2),
    Death("mark_effect.before", deduplicated=False, sent=1, completed=False),
    Death("mark_effect.after", deduplicated=False, sent=1),
    Death("settle.before", deduplicated=True, sent=1),
)


@pytest.mark.chaos
@pytest.mark.parametrize("death", DEATHS, ids=lambda one: f"{one.place} {one.deduplicated}")
def test_wherever_a_worker_dies_an_effect_has_one_key_and_is_repeated_only_where_that_is_safe(
    death: Death, world: World, client: ChaosClient, verdict: Verdict
) -> None:
    task = task_of_dying_worker(death.place, world, client, deduplicated=death.deduplicated)

    keys = keys_sent(world, task)
    assert len(keys) == death.sent
    assert len(set(keys)) <= 1
    assert task["status"] == ("completed" if death.completed else "failed")
    assert (task["error"] or {}).get("type") == (None if death.completed else "EFFECT_UNCERTAIN")
    verdict.check(world, client, spare_executions=1)
