"""What a batch of finished jobs adds to the roll-ups: a pure fold over their histories.

Every final entry of a history adds one to the counters of its day; a later `retried` entry takes it back, because the
job is open again. What attempts consumed counts for the days they ended on, and nothing takes it back. Entries never
change, so the same slice of a history always gives the same sum.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

from app.jobs.history import read_history
from app.jobs.models import DRY_RUN, FINAL, HistoryEntry, Reason, Status
from app.metrics.sketch import bucket_of
from app.metrics.usage import Charge, charges

ALL_TIME = "all"
Key = tuple[str, str]
TIMED = frozenset({Status.COMPLETED, Status.FAILED})
MILLISECOND = timedelta(milliseconds=1)


@dataclass(frozen=True, slots=True)
class Effect:
    """A final entry that adds to the counters (+1) or is taken back (-1), and when its series of attempts began."""

    entry: HistoryEntry
    began_at: datetime
    sign: int


@dataclass(slots=True)
class Tally:
    """Increments for one roll-up document, by field path, and the times it spans."""

    increments: dict[str, float] = field(default_factory=lambda: defaultdict(float))
    first_at: datetime | None = None
    last_at: datetime | None = None

    def add(self, job: Mapping[str, Any], effect: Effect) -> None:
        entry, sign = effect.entry, effect.sign
        self.increments["total"] += sign
        self.increments[f"statuses.{entry.status.value}"] += sign
        if entry.label is not None:
            self.increments[f"agents.{entry.label}"] += sign
        if entry.status in TIMED:
            # A division keeps whole milliseconds whole, so that what is taken back leaves no residue.
            elapsed = max((entry.at - effect.began_at) / MILLISECOND, 0.0)
            self.increments["latency.count"] += sign
            self.increments["latency.sum"] += sign * elapsed
            self.increments[f"latency.buckets.{bucket_of(elapsed)}"] += sign
        self._span(job["created_at"])

    def charge(self, job: Mapping[str, Any], charge: Charge) -> None:
        for unit, amount in charge.amounts.items():
            self.increments[f"usage.{unit}"] += amount
            self.increments[f"agent_usage.{charge.agent}.{unit}"] += amount
        self._span(job["created_at"])

    def _span(self, moment: datetime) -> None:
        self.first_at = min(self.first_at or moment, moment)
        self.last_at = max(self.last_at or moment, moment)


def tally(jobs: Iterable[Mapping[str, Any]]) -> dict[Key, Tally]:
    """Increments by (tenant, day or ``all``) for what each job's history holds behind ``counted_seq``."""
    tallies: dict[Key, Tally] = defaultdict(Tally)
    for job in jobs:
        tenant_id, history = job["tenant_id"], read_history(job["history"])
        _charge(tallies, job, history)
        if job.get(DRY_RUN):
            # Its price is all that is seen of it.
            continue
        for effect in _effects(job, history):
            for period in (effect.entry.at.date().isoformat(), ALL_TIME):
                tallies[tenant_id, period].add(job, effect)
    return tallies


def tally_charges(jobs: Iterable[Mapping[str, Any]]) -> dict[Key, Tally]:
    """The same of what attempts consumed, and of nothing else."""
    tallies: dict[Key, Tally] = defaultdict(Tally)
    for job in jobs:
        _charge(tallies, job, read_history(job["history"]))
    return tallies


def _charge(tallies: dict[Key, Tally], job: Mapping[str, Any], history: Iterable[HistoryEntry]) -> None:
    for charge in charges(history, after=job["counted_seq"]):
        tallies[job["tenant_id"], charge.at.date().isoformat()].charge(job, charge)


def _effects(job: Mapping[str, Any], history: Iterable[HistoryEntry]) -> Iterator[Effect]:
    """What counts in the part not yet counted: each final entry, and its withdrawal when a retry follows."""
    began_at, last = job["created_at"], None
    for entry in history:
        fresh = entry.seq > job["counted_seq"]
        if entry.status in FINAL:
            last = Effect(entry, began_at, 1)
            if fresh:
                yield last
        elif entry.reason is Reason.RETRIED:
            began_at = entry.at
            if fresh and last is not None:
                yield replace(last, sign=-1)
