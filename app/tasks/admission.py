"""Back-pressure: new work is refused while more waits than the workers could do in reasonable time."""

import asyncio
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import timedelta

from app.errors import RateLimited, Unavailable

# How long a count is believed; what was accepted since is added to it.
COUNT_AGE = 1.0
RETRY_AFTER = timedelta(seconds=5)
MOST_TENANTS = 1000


class BacklogFull(Unavailable):
    code = "BACKLOG_FULL"
    title = "Too much work is waiting"


class TenantBacklogFull(RateLimited):
    code = "TENANT_BACKLOG_FULL"
    title = "Too much of your work is waiting"


@dataclass(slots=True)
class _Backlog:
    """What waits, as counted a moment ago, and what was added since."""

    waiting: int = 0
    counted_at: float = float("-inf")
    counting: asyncio.Lock = field(default_factory=asyncio.Lock)


Count = Callable[[str | None, int], Awaitable[int]]


class Admission:
    """Decides per request from a count that is at most a second old; 0 as a limit is no limit.

    ``count`` answers how many jobs wait, of one tenant or (None) of all, counted up to a limit.
    """

    def __init__(
        self, count: Count, *, most: int, most_per_tenant: int, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._count = count
        self._most = most
        self._most_per_tenant = most_per_tenant
        self._monotonic = monotonic
        self._all = _Backlog()
        self._tenants: OrderedDict[str, _Backlog] = OrderedDict()

    async def admit(self, tenant_id: str) -> None:
        """Take note of one more job; raises `TenantBacklogFull` or `BacklogFull` when there is no room for it."""
        mine = self._of_tenant(tenant_id)
        if await self._is_full(mine, tenant_id, self._most_per_tenant):
            most = self._most_per_tenant
            message = f"{most} of your tasks and steps wait already (MAX_TENANT_BACKLOG); try again later"
            raise TenantBacklogFull(message, retry_after=RETRY_AFTER)
        if await self._is_full(self._all, None, self._most):
            message = f"{self._most} tasks and steps wait already (MAX_BACKLOG); try again later"
            raise BacklogFull(message, retry_after=RETRY_AFTER)
        mine.waiting += 1
        self._all.waiting += 1

    async def _is_full(self, backlog: _Backlog, tenant_id: str | None, most: int) -> bool:
        if not most:
            return False
        # One request counts, the others wait for its answer.
        async with backlog.counting:
            if self._monotonic() - backlog.counted_at > COUNT_AGE:
                backlog.waiting = await self._count(tenant_id, most)
                backlog.counted_at = self._monotonic()
        return backlog.waiting >= most

    def _of_tenant(self, tenant_id: str) -> _Backlog:
        backlog = self._tenants.setdefault(tenant_id, _Backlog())
        self._tenants.move_to_end(tenant_id)
        if len(self._tenants) > MOST_TENANTS:
            self._tenants.popitem(last=False)
        return backlog
