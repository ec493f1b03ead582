"""How much of what is ready goes to other workers: what this one will begin by itself soon needs no bell. Pure.

A bell costs three times what a small step does. So steps are rung for only as far as the pace at which steps end here,
and leave their slots to others, leaves them waiting for longer than `HORIZON`.
"""

import math
from collections import deque
from dataclasses import dataclass, field

TICK = 0.025
HORIZON = 3.0
# The pace is that of the last two seconds: as writes share round trips, steps end in bursts, some hundred milliseconds
# apart, and on a busy machine up to a second.
REMEMBERED = 2.0
# Before the first burst nobody knows whether steps are short.
GRACE = 0.3


@dataclass(slots=True)
class Pace:
    """How fast steps of an execution end here while others wait; times are in seconds, of any clock."""

    _ended: int = 0
    # When it was looked at, and what had ended by then; the first is the oldest that is remembered.
    _looks: "deque[tuple[float, int]]" = field(default_factory=deque)

    def ended(self) -> None:
        self._ended += 1

    def to_share(self, waiting: int, now: float) -> int:
        """Of so many that wait here, how many should be rung for; nothing before the grace has passed."""
        if not waiting:
            self._looks.clear()
            return 0
        if not self._looks:
            self._looks.append((now, self._ended))
        if now - self._looks[-1][0] < TICK:
            return 0
        self._looks.append((now, self._ended))
        while now - self._looks[1][0] >= REMEMBERED:
            self._looks.popleft()
        since, before = self._looks[0]
        if now - since < GRACE:
            return 0
        return max(waiting - math.ceil((self._ended - before) / (now - since) * HORIZON), 0)
