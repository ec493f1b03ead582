"""Timers go off on time, once, whoever sweeps and whoever dies."""

import random

import pytest

from app.jobs.store import CLOCK_TOLERANCE
from tests.chaos.client import ChaosClient
from tests.chaos.conftest import StartWorld
from tests.chaos.instruments import EVERYBODY_SWEEPS
from tests.chaos.measurements import DUE_TO_CLAIM, quantile
from tests.chaos.nemesis import chosen_seed
from tests.chaos.timers import Due, lateness, set_timers
from tests.chaos.verdict import Verdict
from tests.chaos.work import effect, work
from tests.chaos.world import USUAL, Part, World
from tests.processes import until

MANY = 1000


def spread(number: int, *, first: float, last: float) -> list[float]:
    dice = random.Random(chosen_seed())
    return [dice.uniform(first, last) for _ in range(number)]


def check_lateness(world: World, due: Due, verdict: Verdict, *, below: float, name: str = DUE_TO_CLAIM) -> None:
    """None was early, and 99 in a hundred were late by less than so many seconds."""
    late = lateness(world, due)
    verdict.time(name, *late)
    assert len(late) == len(due)
    assert late[0] >= -CLOCK_TOLERANCE.total_seconds()
    assert quantile(late, 0.99) < below


@pytest.mark.chaos
def test_timers_go_off_once_and_on_time(world: World, client: ChaosClient, verdict: Verdict) -> None:
    due = set_timers(world, client, work(effect("mail")), spread(150, first=0.5, last=2.0))

    ended = client.all_final()

    assert {task["status"] for task in ended} == {"completed"}
    verdict.check(world, client, spare_executions=0)
    # Beside other tests; alone it is a few hundredths.
    check_lateness(world, due, verdict, below=2.0)


@pytest.mark.chaos
@pytest.mark.parametrize("sweepers", [2, 5])
def test_a_thousand_timers_go_off_once_though_several_sweep_at_the_same_time(
    sweepers: int, start_world: StartWorld, verdict: Verdict
) -> None:
    world = start_world(workers=sweepers, settings=USUAL | {EVERYBODY_SWEEPS: "yes"})
    client = world.client()
    due = set_timers(world, client, work(effect("mail")), spread(MANY, first=2, last=22))
    at_once = set_timers(world, client, work(effect("mail")), [24.0] * 200)

    ended = client.all_final(patience=60)

    assert {task["status"] for task in ended} == {"completed"}
    assert {one["dispatches"] for one in world.documents(*due, *at_once).values()} == {1}
    verdict.check(world, client, spare_executions=0)
    check_lateness(world, due, verdict, below=1.0)


def sweeping(world: World) -> Part | None:
    """The worker whose turn it is, if it is alive."""
    turns = world.events(kind="sweeps")
    return next((part for part in world.workers if turns and part.pid == turns[-1].pid and part.is_alive), None)


@pytest.mark.chaos
@pytest.mark.parametrize("settings", [pytest.param({}, id="short times"), pytest.param(USUAL, id="usual times")])
def test_a_thousand_timers_go_off_on_time_though_the_sweeping_worker_is_killed_again_and_again(
    settings: dict[str, str], start_world: StartWorld, verdict: Verdict
) -> None:
    world = start_world(workers=3, settings=settings)
    client = world.client()
    due = set_timers(world, client, work(effect("mail")), spread(MANY, first=2, last=32))

    for done in (150, 350, 550, 750):
        until(lambda n=done: len(world.events(*due, kind="end")) >= n, f"{done} ended", patience=60)  # type: ignore[misc]
        until(lambda: sweeping(world), "somebody sweeps").kill()
        world.revive()
    ended = client.all_final(patience=60)

    assert {task["status"] for task in ended} == {"completed"}
    verdict.check(world, client)
    check_lateness(world, due, verdict, below=1.0, name=f"{DUE_TO_CLAIM}, sweeper killed")
