"""The simulated model provider of a world, told to fail, and what it was asked."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

import httpx

from tests.chaos.world import World

BUCKET = 0.05


@dataclass(frozen=True, slots=True)
class Call:
    """``at`` is Unix time; ``conversation`` is the same for every attempt at one task with one prompt."""

    conversation: str
    at: float
    status: int


class Provider:
    def __init__(self, world: World) -> None:
        assert world.simulator is not None
        self._http = httpx.Client(base_url=world.simulator.http_url, trust_env=False)
        world.closing.callback(self._http.close)

    def order(self, **fault: object) -> None:
        """Instead of what it did wrong before."""
        self.heal()
        self._http.post("/_sim/faults", json=fault).raise_for_status()

    def heal(self) -> None:
        self._http.delete("/_sim/faults").raise_for_status()

    def calls(self) -> list[Call]:
        """The last thousand that are over, in the order of their end."""
        log = self._http.get("/_sim/requests").json()
        return [Call(one["digest"], one["at"], one["status"]) for one in log["recent"]]


def largest_bucket(moments: Iterable[float]) -> int:
    """The most of them that fall into the same `BUCKET` seconds."""
    return max(Counter(int(moment / BUCKET) for moment in moments).values(), default=0)
