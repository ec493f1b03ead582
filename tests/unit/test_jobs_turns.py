"""The lanes as one worker process reads them: shared by all who ask, and never older than the question."""

import asyncio
from collections.abc import Sequence
from typing import Any, cast

from app.jobs.queue import JobQueue
from app.jobs.turns import Turns


class SlowQueue:
    """Answers with the lanes that were there when it was asked, once it is told to."""

    def __init__(self) -> None:
        self.lanes: Sequence[str] = ("acme",)
        self.asked = 0
        self.was_asked = asyncio.Event()
        self.may_answer = asyncio.Event()

    async def list_lanes(self, **_: Any) -> list[str]:
        self.asked += 1
        self.was_asked.set()
        found = list(self.lanes)
        await self.may_answer.wait()
        return found


async def test_a_hundred_that_ask_at_once_read_twice_at_most_and_see_what_came_before_they_asked() -> None:
    queue = SlowQueue()
    turns = Turns(cast("JobQueue", queue), {}, stage=None, monotonic=lambda: 0.0)
    first = asyncio.ensure_future(turns.read())
    await queue.was_asked.wait()

    queue.lanes = ("acme", "globex")
    rest = [asyncio.ensure_future(turns.read()) for _ in range(99)]
    queue.may_answer.set()
    await asyncio.gather(first, *rest)

    assert queue.asked == 2
    assert {turns.order.next_lane(), turns.order.next_lane()} == {"acme", "globex"}


async def test_a_reading_that_failed_is_made_again_by_whoever_waited_for_it() -> None:
    queue = SlowQueue()
    turns = Turns(cast("JobQueue", queue), {}, stage=None, monotonic=lambda: 0.0)
    first, second = (asyncio.ensure_future(turns.read()) for _ in range(2))
    await queue.was_asked.wait()

    first.cancel()
    queue.may_answer.set()
    await second

    assert queue.asked == 2
    assert turns.order.next_lane() == "acme"
