"""Fair order among tenants: which lane the next job is taken from, decided without I/O.

Every tenant's startable jobs form a lane, ordered by rank. Between lanes it is stride scheduling (Waldspurger and
Weihl, MIT, 1995): each start moves a lane on by ``1/weight``, and the lane that is furthest behind goes first. A lane
that comes back begins where the others are, so that nobody saves up for a burst.
"""

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from enum import StrEnum

EVERYBODY = "*"
# Behind every tenant's name, which begins with a letter or digit.
PARKED = "~"
PARKED_END = "\x7f"
# Before every tenant's name.
STAGED = "!"
STAGED_END = STAGED + PARKED_END
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Stage(StrEnum):
    """A part of the work that comes before the rest, and is waited for in lanes and a queue of its own."""

    EVALUATION = "evaluation"


def lane_of(tenant_id: str, stage: Stage | None = None) -> str:
    """Where a tenant's startable jobs wait, before this stage of their work or for the rest of it."""
    return tenant_id if stage is None else f"{STAGED}{tenant_id}"


def lanes_of(stage: Stage | None) -> tuple[str, str]:
    """All these lanes are behind the first name and before the second."""
    return (STAGED_END, PARKED) if stage is None else (STAGED, STAGED_END)


def rank_of(queued_at: datetime, priority: int, *, step: timedelta) -> int:
    """A job's place in its lane, in milliseconds, lowest first: older ones first, each priority worth ``step``.

    A priority is a bounded head start, so that nothing waits for ever behind what is more urgent.
    """
    return (queued_at - EPOCH - priority * step) // timedelta(milliseconds=1)


def parking_lane(permit: str, tenant_id: str) -> str:
    """Where a tenant's jobs wait for a permit of this name."""
    return f"{PARKED}{permit}{PARKED}{tenant_id}"


def end_of_parking(permit: str) -> str:
    """Behind every lane in which jobs wait for this permit."""
    return f"{PARKED}{permit}{PARKED_END}"


def permit_waited_for(lane: str | None) -> str | None:
    """The permit that jobs of this lane wait for; None for jobs that wait for none."""
    return lane.split(PARKED)[1] if lane and lane.startswith(PARKED) else None


class FairOrder:
    """Remembers how much each lane was served by this process."""

    def __init__(self, weights: Mapping[str, float]) -> None:
        """``weights`` are shares by lane, 1 where nothing is said; `EVERYBODY` names the default."""
        self._weights = dict(weights)
        self._served: dict[str, float] = {}
        self._now = 0.0

    def follow(self, lanes: Iterable[str]) -> None:
        """Take note of the lanes that have something to start."""
        known, self._served = self._served, {}
        for lane in lanes:
            self._served[lane] = max(known.get(lane, self._now), self._now)

    def next_lane(self) -> str | None:
        """The lane to take a job from, which is charged for it; None when every lane is empty."""
        if not self._served:
            return None
        lane = min(self._served, key=lambda name: (self._served[name], name))
        self._now = self._served[lane]
        self._served[lane] += 1 / self._weights.get(lane, self._weights.get(EVERYBODY, 1.0))
        return lane

    def leave(self, lane: str) -> None:
        """The lane was found empty."""
        self._served.pop(lane, None)
