"""The programs that steps of workflows run on this worker end with it, however it ends."""

from collections.abc import Iterator
from contextlib import contextmanager

from app.devstack.child import tethered
from app.devstack.reaper import Reaper
from app.workflows.steps.commands import Guard


@contextmanager
def guarded_programs(*, are_allowed: bool) -> Iterator[Guard]:
    """Where none are allowed, nobody stands by."""
    if not are_allowed:
        yield Guard()
        return
    reaper = Reaper.start()
    try:
        yield Guard(tethered, reaper.register, reaper.forget)
    finally:
        reaper.stop()
