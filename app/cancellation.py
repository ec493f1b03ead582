"""Cancelling for certain: one request is not always heard, and a second one does harm inside a driver.

On Python 3.11 `asyncio.wait_for` swallows a cancellation that arrives when what it waits for has just ended, and the
drivers wait that way for every operation. Cancelled twice, it returns before what it waits for has ended: PyMongo then
releases a lock it does not hold and keeps it for ever, so that nothing in the process reaches the store any more.
"""

import asyncio
from collections.abc import Callable, Coroutine
from datetime import timedelta
from functools import wraps
from typing import Any, ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")

ROUND = timedelta(milliseconds=100)


async def stop(task: "asyncio.Future[Any]", *, patience: timedelta) -> bool:
    """Cancel until the task has ended, for at most ``patience``; True when it has. Its outcome is not raised."""
    rounds = max(1, round(patience / ROUND))
    for _ in range(rounds):
        task.cancel()
        done, _ = await asyncio.wait({task}, timeout=ROUND.total_seconds())
        if done:
            return True
    return False


def undisturbed(operation: Callable[P, Coroutine[Any, Any, T]]) -> Callable[P, Coroutine[Any, Any, T]]:
    """An operation that goes on to its end when its caller is cancelled, who hears of the cancellation at once.

    Whether it took effect is then unknown, as with any answer that is lost. It has to be bounded in time by itself.
    """

    # The event loop refers to its tasks weakly only.
    going_on = set[asyncio.Task[T]]()

    @wraps(operation)
    async def shielded(*args: P.args, **kwargs: P.kwargs) -> T:
        task = asyncio.create_task(operation(*args, **kwargs))
        going_on.add(task)
        task.add_done_callback(going_on.discard)
        return await asyncio.shield(task)

    return shielded
