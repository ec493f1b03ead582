"""A task that is to stop stops, also when it did not hear the first time."""

import asyncio
from datetime import timedelta

from app.cancellation import stop


async def test_a_cancellation_that_was_swallowed_is_repeated() -> None:
    swallowed = 0

    async def hard_of_hearing() -> None:
        nonlocal swallowed
        while True:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                swallowed += 1
                if swallowed == 3:
                    raise

    task = asyncio.create_task(hard_of_hearing())
    await asyncio.sleep(0)

    stopped = await stop(task, patience=timedelta(seconds=5))

    assert stopped
    assert swallowed == 3


async def test_a_task_that_never_listens_is_given_up_on() -> None:
    may_end = asyncio.Event()

    async def deaf() -> None:
        while not may_end.is_set():
            try:
                await may_end.wait()
            except asyncio.CancelledError:
                continue

    task = asyncio.create_task(deaf())
    await asyncio.sleep(0)

    stopped = await stop(task, patience=timedelta(milliseconds=200))
    may_end.set()
    await task

    assert not stopped
