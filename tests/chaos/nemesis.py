"""Breaks a world at random, the same way again for the same seed, and leaves it whole."""

import os
import random
import secrets
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from tests.chaos.world import Part, World
from tests.processes import until

VARIABLE = "CHAOS_SEED"
PAUSES = (0.2, 1.5)


@dataclass(frozen=True, slots=True)
class Blow:
    """One fault to come: ``wait`` seconds after the one before, on the part that ``aim`` in [0, 1) points at."""

    wait: float
    kind: str
    aim: float
    hold: float


Strike = Callable[[World, Blow], None]


def chosen_seed() -> int:
    """That of the environment, or a new one."""
    return int(os.environ.get(VARIABLE) or secrets.randbelow(2**32))


def plan(seed: int, kinds: Sequence[str], *, seconds: float, pauses: tuple[float, float] = PAUSES) -> list[Blow]:
    """The same seed, kinds and time give the same plan. ``hold`` is how long a fault lasts, where it does."""
    dice = random.Random(seed)
    blows: list[Blow] = []
    while sum(blow.wait + blow.hold for blow in blows) < seconds:
        kind = dice.choice(kinds)
        blows.append(Blow(dice.uniform(*pauses), kind, dice.random(), dice.uniform(*pauses)))
    return blows


class Nemesis:
    """Strikes from the thread that calls `run`, which must be the one that made the world."""

    def __init__(self, world: World, strikes: Mapping[str, Strike], *, seed: int | None = None) -> None:
        self._world = world
        self._strikes = strikes
        self.seed = chosen_seed() if seed is None else seed
        self.struck: list[str] = []

    def run(
        self,
        *,
        seconds: float,
        pauses: tuple[float, float] = PAUSES,
        meanwhile: Callable[[], None] = lambda: None,
    ) -> None:
        """Carry out the plan, then mend the world. ``meanwhile`` is called after each blow."""
        sys.stderr.write(f"\nnemesis: {VARIABLE}={self.seed} repeats this run\n")
        for blow in plan(self.seed, sorted(self._strikes), seconds=seconds, pauses=pauses):
            time.sleep(blow.wait)
            self._strikes[blow.kind](self._world, blow)
            self.struck.append(blow.kind)
            self._world.revive()
            meanwhile()
        self._world.mend()


def kill_worker(world: World, blow: Blow) -> None:
    aimed_at(world.workers, blow).kill()


def pause_worker(world: World, blow: Blow) -> None:
    part = aimed_at(world.workers, blow)
    part.pause()
    time.sleep(blow.hold)
    part.resume()


def drain_worker(world: World, blow: Blow) -> None:
    part = aimed_at(world.workers, blow)
    part.terminate()
    until(lambda: not part.is_alive, f"{part.name} ends")


def kill_api(world: World, blow: Blow) -> None:
    aimed_at(world.apis, blow).kill()


def restart_broker(world: World, blow: Blow) -> None:
    """It comes back empty."""
    world.kill_broker()
    time.sleep(blow.hold)
    world.restart_broker()


def restart_store(world: World, blow: Blow) -> None:
    world.kill_store()
    time.sleep(blow.hold)
    world.restart_store()


def aimed_at(parts: Sequence[Part], blow: Blow) -> Part:
    return parts[int(blow.aim * len(parts))]
