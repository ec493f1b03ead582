"""How much is measured: on a quiet machine the whole run takes under 7 minutes, the quick one under 110 seconds."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Sizes:
    rounds: int
    accepted: int
    one_by_one: int
    tasks: int
    waiting: int
    first_tokens: int
    followed: int
    chains: int
    fan_outs: int
    idle_seconds: float
    connections: int = 8
    waiting_connections: int = 16
    plain_threads: int = 10


FULL = Sizes(
    rounds=3,
    accepted=1500,
    one_by_one=300,
    tasks=3000,
    waiting=500,
    first_tokens=100,
    followed=60,
    chains=30,
    fan_outs=3,
    idle_seconds=5.0,
)
QUICK = Sizes(
    rounds=1,
    accepted=300,
    one_by_one=80,
    tasks=400,
    waiting=500,
    first_tokens=40,
    followed=40,
    chains=10,
    fan_outs=2,
    idle_seconds=2.0,
)
