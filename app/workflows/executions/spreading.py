"""How much of what is ready goes to other workers: what this one will begin by itself in a moment needs no bell. Pure.

A bell costs more than a small step does. So steps are rung for only as far as the pace at which this worker begins
them leaves them waiting for longer than `HORIZON`.
"""

import math
from collections import deque
from dataclasses import dataclass, field

TICK = 0.025
HORIZON = 1.0
# The best of so many ticks counts: in one of them the store may have been slow.
REMEMBERED = 4


@dataclass(slots=True)
class Pace:
    """How fast this worker begins steps of an execution; times are in seconds, of any clock."""

    since: float
    begun: int = 0
    _rates: "deque[float]" = field(default_factory=lambda: deque(maxlen=REMEMBERED))

    def began(self) -> None:
        self.begun += 1

    def to_share(self, waiting: int, now: float) -> int:
        """Of so many that wait here, how many should be rung for; nothing before a tick has passed."""
        passed = now - self.since
        if passed < TICK:
            return 0
        self._rates.append(self.begun / passed)
        self.since, self.begun = now, 0
        return max(waiting - math.floor(max(self._rates) * HORIZON), 0)
