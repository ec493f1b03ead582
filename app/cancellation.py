"""Cancelling for certain: one request is not always heard.

On Python 3.11 `asyncio.wait_for` swallows a cancellation that arrives when what it waits for has just ended, and the
drivers wait that way for every operation.
"""

import asyncio
from datetime import timedelta
from typing import Any

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
