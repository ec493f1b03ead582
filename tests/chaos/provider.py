"""The simulated model provider of a world, told to fail, and what it was asked."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

import httpx

from tests.chaos.world import World
from tests.processes import Server

BUCKET = 0.05


@dataclass(frozen=True, slots=True)
class Call:
    """``at`` is Unix time; ``conversation`` is the same for every attempt at one task with one prompt.

    ``tokens`` is what it was billed with, also when nobody was there any more to take the answer.
    """

    conversation: str
    at: float
    status: int
    role: str
    tokens: int


class Provider:
    def __init__(self, world: World, server: Server | None = None) -> None:
        """``server`` is another simulator than the world's own."""
        server = server or world.simulator
        assert server is not None
        self._http = httpx.Client(base_url=server.http_url, trust_env=False)
        world.closing.callback(self._http.close)

    def order(self, **fault: object) -> None:
        """Instead of what it did wrong before."""
        self.heal()
        self._http.post("/_sim/faults", json=fault).raise_for_status()

    def heal(self) -> None:
        self._http.delete("/_sim/faults").raise_for_status()

    def play(self, scenario: str, *, seed: int) -> None:
        """From now on, until `calm`."""
        self._http.post("/_sim/scenario", json={"scenario": scenario, "seed": seed}).raise_for_status()

    def calm(self) -> None:
        self._http.delete("/_sim/scenario").raise_for_status()

    def calls(self) -> list[Call]:
        """Those of models among the last thousand that are over, in the order of their end."""
        log = self._http.get("/_sim/requests").json()
        return [
            Call(one["digest"], one["at"], one["status"], one["role"], one["tokens"])
            for one in log["recent"]
            if one["role"] != "search"
        ]


def repeats(calls: Iterable[Call]) -> int:
    """How many of them had been made before, by an earlier attempt at the same task."""
    return sum(count - 1 for count in Counter(call.conversation for call in calls).values())


def largest_bucket(moments: Iterable[float]) -> int:
    """The most of them that fall into the same `BUCKET` seconds."""
    return max(Counter(int(moment / BUCKET) for moment in moments).values(), default=0)
