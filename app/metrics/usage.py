"""What a tenant's tasks and steps consumed, by day and agent: noted in their histories, summed up in roll-ups."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from enum import StrEnum
from itertools import groupby
from typing import Any

from app.clock import Clock
from app.database.documents import Document, Documents
from app.errors import Invalid
from app.jobs.models import HistoryEntry

NOTE = "cost"
# Whole numbers, so that sums stay exact.
TOKENS, MODEL_CALLS, NANO_USD = UNITS = ("tokens", "model_calls", "nano_usd")
NANO = 10**9
MOST_DAYS = 366
# What the ids of the roll-ups of steps end with: each collection is counted in batches of its own.
OF_STEPS = ":steps"
DAY = timedelta(days=1)
Amounts = Mapping[str, int]


class GroupBy(StrEnum):
    TENANT = "tenant"
    AGENT = "agent"
    DAY = "day"


@dataclass(frozen=True, slots=True)
class Charge:
    """What one attempt at a job consumed, and for which agent; ``seq`` is that of the entry that ended it."""

    seq: int
    at: datetime
    agent: str
    amounts: Amounts


@dataclass(frozen=True, slots=True)
class Usage:
    first: date
    last: date
    groups: Mapping[str, Amounts]
    total: Amounts


def note_of(cost: Mapping[str, Any], agent: str) -> dict[str, Any]:
    """What the entry that ends an attempt says of it: what the task has cost so far, and who works on it."""
    return {
        "agent": agent,
        TOKENS: cost["total_tokens"],
        MODEL_CALLS: cost["model_calls"],
        NANO_USD: round(cost["usd_estimate"] * NANO),
    }


def added_to(history: Iterable[Mapping[str, Any]], note: Mapping[str, Any]) -> dict[str, Any]:
    """A note of what one attempt consumed, as that of all attempts so far; ``history`` as it is stored."""
    notes = [entry["noted"][NOTE] for entry in history if NOTE in entry.get("noted", {})]
    before: Mapping[str, Any] = notes[-1] if notes else {}
    return {**note, **{unit: before.get(unit, 0) + note[unit] for unit in UNITS}}


def charges(history: Iterable[HistoryEntry], *, after: int) -> Iterator[Charge]:
    """What each attempt consumed that ended with an entry behind number ``after``."""
    before: Mapping[str, Any] = {}
    for entry in history:
        so_far = entry.noted.get(NOTE)
        if so_far is None:
            continue
        if entry.seq > after:
            amounts = {unit: so_far[unit] - before.get(unit, 0) for unit in UNITS}
            yield Charge(entry.seq, entry.at, so_far["agent"], amounts)
        before = so_far


class UsageReport:
    """Reads the roll-ups: two documents for each day, however many tasks and steps there were."""

    def __init__(self, rollups: Documents, *, clock: Clock) -> None:
        self._rollups = rollups
        self._clock = clock

    async def read(self, tenant_id: str, first: date | None, last: date | None, group_by: GroupBy) -> Usage:
        """Both days are part of it; by default the current month up to today (UTC)."""
        last = last or self._clock().date()
        first = first or last.replace(day=1)
        days = _days(first, last)
        ids = [f"{tenant_id}:{day}{of}" for day in days for of in ("", OF_STEPS)]
        found = await self._rollups.of_tenant(tenant_id).find_many(
            {"_id": {"$in": ids}}, limit=len(ids), fields=("period", "usage", "agent_usage")
        )
        rollups = sorted(found, key=lambda rollup: str(rollup["period"]))
        total = _sum(rollup.get("usage", {}) for rollup in rollups)
        return Usage(first, last, _groups(rollups, group_by, tenant_id, total), total)


def _days(first: date, last: date) -> list[str]:
    if last < first:
        raise Invalid("from must not be later than to", field="from")
    count = (last - first) // DAY + 1
    if count > MOST_DAYS:
        raise Invalid(f"at most {MOST_DAYS} days can be asked for at once", field="from")
    return [(first + number * DAY).isoformat() for number in range(count)]


def _groups(rollups: list[Document], group_by: GroupBy, tenant_id: str, total: Amounts) -> dict[str, Amounts]:
    match group_by:
        case GroupBy.TENANT:
            return {tenant_id: total}
        case GroupBy.DAY:
            by_day = groupby((one for one in rollups if "usage" in one), key=lambda rollup: str(rollup["period"]))
            return {day: _sum(rollup["usage"] for rollup in of_day) for day, of_day in by_day}
        case GroupBy.AGENT:
            agents = sorted({name for rollup in rollups for name in rollup.get("agent_usage", {})})
            return {name: _sum(rollup.get("agent_usage", {}).get(name, {}) for rollup in rollups) for name in agents}


def _sum(parts: Iterable[Mapping[str, float]]) -> Amounts:
    sums: Counter[str] = Counter()
    for part in parts:
        sums.update({unit: int(part.get(unit, 0)) for unit in UNITS})
    return {unit: sums[unit] for unit in UNITS}
