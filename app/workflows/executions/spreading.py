"""How much of what is ready goes to other workers: what this one will begin by itself soon needs no bell. Pure.

A bell costs three times what a small step does. So steps are rung for only as far as the pace at which this worker
begins them leaves them waiting for longer than `HORIZON`.
"""

import math
from collections import deque
from dataclasses import dataclass, field

TICK = 0.025
HORIZON = 3.0
# The pace is that of the last two seconds: as writes share round trips, steps begin in bursts, some hundred
# milliseconds apart, and on a busy machine up to a second.
REMEMBERED = 2.0


@dataclass(slots=True)
class Pace:
    """How fast this worker begins steps of an execution while others wait; times are in seconds, of any clock."""

    _begun: int = 0
    # When it was looked at, and what had begun by then; the first is the oldest that is remembered.
    _looks: "deque[tuple[float, int]]" = field(default_factory=deque)

    def began(self) -> None:
        self._begun += 1

    def to_share(self, waiting: int, now: float) -> int:
        """Of so many that wait here, how many should be rung for; nothing before a tick has passed."""
        if not waiting:
            self._begun = 0
            self._looks.clear()
            return 0
        if not self._looks:
            self._looks.append((now, 0))
        if now - self._looks[-1][0] < TICK:
            return 0
        self._looks.append((now, self._begun))
        while now - self._looks[1][0] >= REMEMBERED:
            self._looks.popleft()
        since, before = self._looks[0]
        return max(waiting - math.floor((self._begun - before) / (now - since) * HORIZON), 0)
