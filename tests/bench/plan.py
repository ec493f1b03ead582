"""How much is measured: on a quiet machine the whole run takes under 4 minutes, the quick one under 40 seconds."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Sizes:
    rounds: int
    accepted: int
    one_by_one: int
    tasks: int
    waiting: int
    idle_seconds: float
    connections: int = 8
    waiting_connections: int = 16
    plain_threads: int = 10


FULL = Sizes(rounds=3, accepted=1500, one_by_one=300, tasks=3000, waiting=500, idle_seconds=5.0)
QUICK = Sizes(rounds=1, accepted=300, one_by_one=80, tasks=400, waiting=500, idle_seconds=2.0)
