"""When a part that died is started again: a pure decision."""

from dataclasses import dataclass
from datetime import timedelta


@dataclass(frozen=True, slots=True)
class RestartPolicy:
    """A part that stayed up for `stable` begins with a clean record. One that dies `tries` times in a row before it was
    ever ready is given up, because then the start itself is wrong."""

    first_delay: timedelta = timedelta(milliseconds=200)
    longest_delay: timedelta = timedelta(seconds=30)
    stable: timedelta = timedelta(seconds=60)
    loop: int = 5
    tries: int = 3


@dataclass(frozen=True, slots=True)
class Restart:
    delay: timedelta
    looping: bool


@dataclass(frozen=True, slots=True)
class GiveUp:
    pass


def deaths_in_row(policy: RestartPolicy, *, before: int, lived: timedelta) -> int:
    return 1 if lived >= policy.stable else before + 1


def decide(policy: RestartPolicy, *, deaths: int, was_ready: bool) -> Restart | GiveUp:
    """The delay doubles with each death in a row, up to the longest."""
    if not was_ready and deaths >= policy.tries:
        return GiveUp()
    doublings = min(deaths - 1, 16)
    return Restart(min(policy.first_delay * 2**doublings, policy.longest_delay), looping=deaths >= policy.loop)
