"""Whose turn it is: the lanes of one stage as they were in the store a moment ago, in a fair order."""

import asyncio
from collections.abc import Callable, Mapping

from app.jobs.lanes import EVERYBODY, FairOrder, Stage, lane_of
from app.jobs.queue import MOST_LANES, JobQueue

# How long the lanes are believed in once they were read: reading few costs little, and a new one must not wait long.
LANES_AGE = 0.25
FEW_LANES_AGE = 0.05


class Turns:
    """As one worker process sees them."""

    def __init__(
        self, queue: JobQueue, weights: Mapping[str, float], *, stage: Stage | None, monotonic: Callable[[], float]
    ) -> None:
        """``weights`` are shares by tenant; `EVERYBODY` names the default."""
        shares = {name if name == EVERYBODY else lane_of(name, stage): share for name, share in weights.items()}
        self.order = FairOrder(shares)
        self._queue = queue
        self._stage = stage
        self._monotonic = monotonic
        self._expire_at = float("-inf")
        self._last_lane = ""
        self._reading = asyncio.Lock()
        self._begun, self._done = 0, 0

    @property
    def are_outdated(self) -> bool:
        return self._monotonic() > self._expire_at

    async def read(self) -> None:
        """Find out who has something to start by now; more than `MOST_LANES` are looked at in several goes.

        Whoever asks while others read shares the next reading with all that do.
        """
        begun = self._begun
        async with self._reading:
            # One that began before this call may have missed what the caller was rung for.
            if self._done <= begun:
                self._begun = number = begun + 1
                await self._read()
                self._done = number

    async def _read(self) -> None:
        lanes = await self._queue.list_lanes(stage=self._stage, after=self._last_lane)
        if self._last_lane and len(lanes) < MOST_LANES:
            lanes += await self._queue.list_lanes(stage=self._stage, limit=MOST_LANES - len(lanes))
        self._last_lane = lanes[-1] if len(lanes) == MOST_LANES else ""
        self.order.follow(lanes)
        age = max(LANES_AGE * len(lanes) / MOST_LANES, FEW_LANES_AGE)
        self._expire_at = self._monotonic() + age
