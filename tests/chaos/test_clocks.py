"""Machines whose wall clocks are wrong by ten minutes, either way, and jump."""

import json
import time
from datetime import datetime
from pathlib import Path

import pytest

from tests.chaos.client import ChaosClient
from tests.chaos.verdict import Verdict
from tests.chaos.wall_clock import VARIABLE
from tests.chaos.work import tick, work
from tests.chaos.world import Part, World

LEASE = 2.0
SLACK = 2.0
WRONG = {"fast": "600", "slow": "-600"}


class Clock:
    """The wall clock of one process."""

    def __init__(self, path: Path, offset: str) -> None:
        self._path = path
        self.set(offset)

    def set(self, offset: str) -> None:
        # In place of the old one at once: a reader must never find half of it.
        new = self._path.with_suffix(".new")
        new.write_text(offset)
        new.replace(self._path)

    @property
    def variables(self) -> dict[str, str]:
        return {VARIABLE: str(self._path)}


def with_clock(part: Part, clock: Clock) -> None:
    part.kill()
    part.start(**clock.variables)


def clock_error(part: Part) -> float:
    """Seconds by which the wall clock of the process is fast, by its log."""
    line = part.process.says('"timestamp"')
    return datetime.fromisoformat(json.loads(line)["timestamp"]).timestamp() - time.time()


def run_on_both(world: World, client: ChaosClient, *, seconds: float) -> set[int]:
    """Start tasks until each worker has some; answers the pids of those that hold some."""
    for _ in range(12):
        client.submit(work(tick(seconds)))
    return {world.started(task_id).pid for task_id in client.accepted}


@pytest.mark.chaos
@pytest.mark.parametrize("jump", [pytest.param(False, id="all the time"), pytest.param(True, id="by a jump")])
def test_a_wrong_clock_takes_no_task_from_anybody(
    jump: bool, world: World, client: ChaosClient, verdict: Verdict, tmp_path: Path
) -> None:
    clocks = [Clock(tmp_path / name, "0" if jump else offset) for name, offset in WRONG.items()]
    for part, clock in zip(world.workers, clocks, strict=True):
        with_clock(part, clock)
    world.faults.clear()
    assert jump or [round(clock_error(part), -2) for part in world.workers] == [600, -600]
    holders = run_on_both(world, client, seconds=2 * LEASE)

    for clock, offset in zip(clocks, WRONG.values(), strict=True):
        clock.set(offset)
    ended = client.all_final()

    assert len(holders) == len(world.workers)
    assert {task["status"] for task in ended} == {"completed"}
    assert {task["attempt"] for task in ended} == {1}
    assert not any("worker.lease_lost" in line for part in world.workers for line in part.process.lines())
    verdict.check(world, client, spare_executions=0)


@pytest.mark.chaos
@pytest.mark.parametrize("survivor", WRONG)
def test_a_worker_with_a_wrong_clock_takes_over_neither_early_nor_late(
    survivor: str, world: World, client: ChaosClient, verdict: Verdict, tmp_path: Path
) -> None:
    with_clock(world.workers[0], Clock(tmp_path / survivor, WRONG[survivor]))
    world.faults.clear()
    holders = run_on_both(world, client, seconds=1.5)
    killed = world.workers[1]
    lost = [task_id for task_id in client.accepted if world.started(task_id).pid == killed.pid]

    killed.kill()
    killed_at = world.faults[-1].at
    again = [world.started(task_id, times=2).at - killed_at for task_id in lost]
    ended = client.all_final()

    assert len(holders) == 2
    # It renewed half a second before its death at the earliest.
    assert min(again) > LEASE - 1.0
    assert {task["status"] for task in ended} == {"completed"}
    verdict.check(world, client, recovery=LEASE + SLACK)
