"""What belongs to something that is held and would expire by itself is kept as well.

It is given more time when the hold is placed, and again and again by the upkeep: an effect or a message may be stored
after that, with a time to live of its own.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import datetime, timedelta

from app.clock import Clock
from app.database.documents import Documents
from app.governance.legal_holds.models import HeldKind
from app.governance.legal_holds.repository import HoldRepository

# For so long no worker may be there to do it: the store removes what has expired in any case.
AHEAD = timedelta(days=30)
# What was given more time lately is not written again.
RECENT = timedelta(days=1)
BATCH = 50
PAUSE = timedelta(hours=1)

# Keeps what belongs to subjects of one tenant, by their ids, until this time at least.
Keep = Callable[[str, Sequence[str], datetime], Awaitable[None]]


def by_field(
    documents: Documents, field: str, *, names_of: Callable[[str], Sequence[str]] = lambda one: (one,)
) -> Keep:
    """Keeps documents whose indexed ``field`` has one of the names that follow from a subject's id."""

    async def keep(tenant_id: str, ids: Sequence[str], until: datetime) -> None:
        names = [name for one in ids for name in names_of(one)]
        expiring = {field: {"$in": names}, "expires_at": {"$lt": until - RECENT}}
        await documents.of_tenant(tenant_id).update_many(expiring, {"$set": {"expires_at": until}})

    return keep


class HoldKeeper:
    """Keeps what belongs to all that is held."""

    def __init__(
        self,
        repositories: Mapping[HeldKind, HoldRepository],
        keeps: Mapping[HeldKind, Sequence[Keep]],
        *,
        clock: Clock,
    ) -> None:
        self._repositories = repositories
        self._keeps = keeps
        self._clock = clock
        self._seen = dict.fromkeys(repositories, "")
        self._rests_until = clock()

    async def keep(self, kind: HeldKind, tenant_id: str, subject_id: str) -> None:
        until = self._clock() + AHEAD
        for keep in self._keeps.get(kind, ()):
            await keep(tenant_id, [subject_id], until)

    async def keep_some(self) -> int:
        """Go on with the next subjects of each kind; answers how many. After all of them it rests for a while."""
        if self._clock() < self._rests_until:
            return 0
        kept = [await self._keep_some_of(kind) for kind in self._repositories]
        if not any(self._seen.values()):
            self._rests_until = self._clock() + PAUSE
        return sum(kept)

    async def _keep_some_of(self, kind: HeldKind) -> int:
        held = await self._repositories[kind].list_held(after=self._seen[kind], limit=BATCH)
        for _, tenant_id, subject_id in held:
            await self.keep(kind, tenant_id, subject_id)
        self._seen[kind] = held[-1][0] if len(held) == BATCH else ""
        return len(held)
