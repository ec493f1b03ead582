"""The use cases of legal holds: place, release, list."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any

from app.clock import Clock
from app.governance.legal_holds.keeping import HoldKeeper
from app.governance.legal_holds.models import HeldKind, LegalHold
from app.governance.legal_holds.repository import HoldRepository
from app.http.pagination import MOST_COUNTED, Page, PageParams

Around = Callable[[str, str, str, Mapping[str, str], Mapping[str, Any]], AbstractAsyncContextManager[dict[str, Any]]]


class LegalHolds:
    def __init__(
        self,
        repositories: Mapping[HeldKind, HoldRepository],
        keeper: HoldKeeper,
        *,
        around: Around,
        clock: Clock,
    ) -> None:
        """``around`` writes acts to the audit trail before they are done."""
        self._repositories = repositories
        self._keeper = keeper
        self._around = around
        self._clock = clock

    async def place(self, tenant_id: str, kind: HeldKind, subject_id: str, reason: str, *, by: str) -> LegalHold:
        """From now on nothing of it is deleted. The same reason again changes nothing, another one is put in its place.

        Raises the subject's `NotFound`, also for one that is being deleted, and `NotHoldable`.
        """
        holds, subject = self._repositories[kind], {f"{kind}_id": subject_id}
        hold = await holds.find(tenant_id, subject_id)
        if hold is None or hold.reason != reason:
            async with self._around(tenant_id, "legal_hold.placed", by, subject, {"reason": reason}):
                hold = await holds.place(tenant_id, subject_id, reason, by=by, now=self._clock())
        # Also when it was there: whoever placed it may have died before this.
        await self._keeper.keep(kind, tenant_id, subject_id)
        return hold

    async def release(self, tenant_id: str, kind: HeldKind, subject_id: str, *, by: str) -> None:
        """It may be deleted when it is old enough; without a hold nothing changes. Raises the subject's `NotFound`."""
        holds, subject = self._repositories[kind], {f"{kind}_id": subject_id}
        hold = await holds.find(tenant_id, subject_id)
        if hold is not None:
            async with self._around(tenant_id, "legal_hold.released", by, subject, {"reason": hold.reason}):
                await holds.release(tenant_id, subject_id)

    async def list_page(self, tenant_id: str, kind: HeldKind | None, params: PageParams) -> Page[LegalHold]:
        """What is held, of one kind or of all, newest first."""
        asked = [holds for one, holds in self._repositories.items() if kind in (None, one)]
        # Of each kind as many as the page can show: they lie in collections of their own.
        end = params.skip + params.page_size + 1
        found = await asyncio.gather(*(one.list_page(tenant_id, limit=end, after=params.after) for one in asked))
        totals = await asyncio.gather(*(one.count(tenant_id, limit=MOST_COUNTED) for one in asked))
        return Page.of(_newest_first(found)[params.skip : end], params, total=min(sum(totals), MOST_COUNTED))


def _newest_first(found: Sequence[Sequence[LegalHold]]) -> list[LegalHold]:
    everything = (hold for of_kind in found for hold in of_kind)
    return sorted(everything, key=lambda hold: (hold.placed_at, hold.subject_id), reverse=True)
