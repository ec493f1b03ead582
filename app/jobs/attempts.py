"""Every attempt that was ever made at a job, told by its history alone. Pure.

An attempt begins with a claim and ends with the entry behind it, whoever wrote that: one whose worker was killed is
ended by the sweep, so that it is there although its worker never said a word.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime

from app.jobs.history import UNCHARGED
from app.jobs.models import HistoryEntry, JobError, Reason

RUNNING = "running"
COMPLETED = "completed"


@dataclass(frozen=True, slots=True)
class PastAttempt:
    """``place`` counts all of them from 1; ``number`` is that of its series, which an uncharged one does not use up.

    ``ending`` is the entry that ended it, None while it goes on.
    """

    place: int
    series: int
    number: int
    started_at: datetime
    worker: str | None
    ending: HistoryEntry | None = None

    @property
    def ended_at(self) -> datetime | None:
        return self.ending.at if self.ending else None

    @property
    def outcome(self) -> str:
        """`running`, `completed`, or the `Reason` for which it ended."""
        if self.ending is None:
            return RUNNING
        return COMPLETED if self.ending.reason is Reason.FINISHED else self.ending.reason.value

    @property
    def error(self) -> JobError | None:
        return self.ending.error if self.ending else None

    @property
    def is_charged(self) -> bool:
        return self.ending is None or self.ending.reason not in UNCHARGED


def list_attempts(history: Iterable[HistoryEntry]) -> list[PastAttempt]:
    """Oldest first."""
    return list(_attempts(history))


def _attempts(history: Iterable[HistoryEntry]) -> Iterator[PastAttempt]:
    series, place = 1, 0
    claim: HistoryEntry | None = None
    for entry in history:
        if claim is not None:
            yield PastAttempt(place, series, claim.attempt, claim.at, claim.worker, entry)
            claim = None
        if entry.reason is Reason.RETRIED:
            series += 1
        elif entry.reason is Reason.CLAIMED:
            place, claim = place + 1, entry
    if claim is not None:
        yield PastAttempt(place, series, claim.attempt, claim.at, claim.worker)
