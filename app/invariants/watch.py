"""Verifies again and again in the background, for the metrics."""

import asyncio
from collections.abc import Callable
from datetime import timedelta

import structlog

from app.errors import OrchestratorError
from app.invariants.models import Report
from app.invariants.verifier import Verifier

log = structlog.get_logger(__name__)

LOOK_PATIENCE = timedelta(seconds=20)


class InvariantWatch:
    def __init__(
        self, verifier: Verifier, *, interval: timedelta, patience: timedelta, report: Callable[[Report], None]
    ) -> None:
        """``patience`` bounds one verification; what takes longer is given up until the next."""
        self._verifier = verifier
        self._interval = interval
        self._patience = patience
        self._report = report
        self._broken: frozenset[str] = frozenset()

    async def run_for_ever(self) -> None:
        while True:
            await asyncio.sleep(self._interval.total_seconds())
            await self.look()

    async def look(self) -> None:
        """Report what was found; nothing is reported when the store does not answer."""
        try:
            async with asyncio.timeout(self._patience.total_seconds()):
                found = await self._verifier.verify()
        except (OrchestratorError, TimeoutError) as error:
            log.debug("invariants.not_verified", error_type=type(error).__name__)
        except Exception:  # a background loop: the next look may go better, and must take place
            log.exception("invariants.crashed")
        else:
            self._report(found)
            self._log_changes(found)

    def _log_changes(self, report: Report) -> None:
        broken = {finding.name: finding for finding in report.findings if not finding.ok}
        for name in broken.keys() - self._broken:
            id_name, job_id = next(iter(broken[name].offenders[0].items()))
            log.error("invariant.violated", check=name, count=len(broken[name].offenders), **{id_name: job_id})
        for name in self._broken - broken.keys():
            log.info("invariant.holds_again", check=name)
        self._broken = frozenset(broken)
