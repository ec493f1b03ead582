"""Looks at a live system and says which of its promises are broken."""

import asyncio
from collections.abc import Sequence
from datetime import timedelta

from app.clock import Clock
from app.invariants.models import Finding, Invariant, Report

MOST_OFFENDERS = 100


class Verifier:
    """Reads only."""

    def __init__(self, invariants: Sequence[Invariant], *, clock: Clock, confirmation: timedelta) -> None:
        """``confirmation`` lies between two looks when the first finds something."""
        self._invariants = invariants
        self._clock = clock
        self._confirmation = confirmation

    async def verify(self) -> Report:
        """What is broken and stays so; raises `StoreUnavailable`.

        Checks read one collection after the other while the system goes on, so what one look finds may only have
        been on its way. An offender is one that is there, unchanged, at two looks.
        """
        first = await self._look()
        if first.ok:
            return first
        await asyncio.sleep(self._confirmation.total_seconds())
        return first.confirmed_by(await self._look())

    async def _look(self) -> Report:
        at = self._clock()
        return Report(at, tuple([await _examine(invariant) for invariant in self._invariants]))


async def _examine(invariant: Invariant) -> Finding:
    found = await invariant.list_offenders(limit=MOST_OFFENDERS + 1)
    return Finding(
        invariant.name, invariant.promise, tuple(found[:MOST_OFFENDERS]), truncated=len(found) > MOST_OFFENDERS
    )
