"""One promise that several collections of jobs keep."""

from collections.abc import Sequence

from app.invariants.models import Invariant, Offender


class InEveryKind:
    """The same check of each collection, under one name."""

    def __init__(self, checks: Sequence[Invariant]) -> None:
        """``checks`` are one or more, all of the same promise."""
        self.name = checks[0].name
        self.promise = checks[0].promise
        self._checks = checks

    async def list_offenders(self, *, limit: int) -> list[Offender]:
        found: list[Offender] = []
        for check in self._checks:
            found += await check.list_offenders(limit=limit)
        return found[:limit]
