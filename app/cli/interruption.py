"""Ctrl-C while something is awaited: it always ends the wait."""

import asyncio
import signal
from collections.abc import Coroutine
from datetime import timedelta
from typing import Any, TypeVar

from app.cancellation import stop

T = TypeVar("T")
PATIENCE = timedelta(seconds=2)


class Interrupted(Exception):
    """The person at the terminal pressed Ctrl-C."""


def run_interruptibly(work: Coroutine[Any, Any, T]) -> T:
    """Run to the end, or raise `Interrupted` once the work is cancelled; from the main thread only.

    `asyncio.run` alone cancels once, and a connection that fails while it is being closed can hide that.
    """
    return asyncio.run(_until_interrupted(work))


async def _until_interrupted(work: Coroutine[Any, Any, T]) -> T:
    interrupted = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGINT, interrupted.set)
    task, ctrl_c = asyncio.create_task(work), asyncio.create_task(interrupted.wait())
    either: set[asyncio.Future[Any]] = {task, ctrl_c}
    await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
    ctrl_c.cancel()
    if task.done():
        return task.result()
    await stop(task, patience=PATIENCE)
    raise Interrupted
