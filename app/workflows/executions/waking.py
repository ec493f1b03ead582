"""Has an execution driven on: by the worker that drives it now, or by whoever is there."""

from collections.abc import Callable

from app.events.signals import Signals
from app.jobs.store import JobNotSuspended, JobStore


def attention_of(execution_id: str) -> str:
    """What the driver of an execution listens to; the id itself is for those who watch it."""
    return f"drive:{execution_id}"


class Waker:
    """A wake-up may be lost when its process dies; what it was for is in the store then, and the upkeep wakes again."""

    def __init__(self, executions: JobStore, ring: Callable[[str], None], signals: Signals) -> None:
        """``ring`` calls a worker for an execution."""
        self._executions = executions
        self._ring = ring
        self._signals = signals

    async def wake(self, tenant_id: str, execution_id: str, *, request: str) -> None:
        """``request`` is noted in its history. One that has ended stays as it is."""
        try:
            await self._executions.resume(tenant_id, execution_id, where={}, fields={}, request=request)
        except JobNotSuspended:
            self._signals.notify(attention_of(execution_id))
        else:
            self._ring(execution_id)
