"""The budget that a client gave with its task. One attempt at a time works on a task, so it is kept in memory."""

import asyncio
from collections.abc import Iterable, Mapping
from datetime import timedelta
from typing import Any

from app.governance.budgets.models import (
    Amounts,
    BudgetExceeded,
    Limit,
    Period,
    Scope,
    Shortage,
    Unit,
    counted,
    plus,
)
from app.jobs.models import Reason

ASK, FAIL = "ask", "fail"
# What ended attempts may have consumed without anybody having seen it, as the task keeps it.
UNSEEN = "budget_unseen"
FIX = "submit it with more"


class RequestBudget:
    """For any number of concurrent calls of one attempt."""

    def __init__(self, limits: Amounts, spent: Amounts, *, fix: str = FIX) -> None:
        """``spent`` is what earlier attempts consumed."""
        self._limits = tuple(Limit(Scope.REQUEST, "", Period.TOTAL, unit, most, fix) for unit, most in limits.items())
        self._committed = spent
        self._reserved: Amounts = {}
        self._changed = asyncio.Event()

    def limits(self, unit: Unit) -> bool:
        return any(limit.unit is unit for limit in self._limits)

    def left(self, unit: Unit) -> int | None:
        """None without a limit."""
        most = next((limit.most for limit in self._limits if limit.unit is unit), None)
        return None if most is None else most - self._committed.get(unit, 0)

    async def reserve(self, amounts: Amounts) -> None:
        """Wait for calls in progress while they may need the rest; raises `BudgetExceeded` when there is none."""
        while shortage := self._shortage(amounts):
            if shortage.is_final:
                raise BudgetExceeded(shortage)
            await self._changed.wait()
        self._committed = plus(self._committed, amounts)
        self._reserved = plus(self._reserved, amounts)

    def settle(self, reserved: Amounts, actual: Amounts) -> None:
        self._reserved = plus(self._reserved, reserved, times=-1)
        self._committed = plus(plus(self._committed, reserved, times=-1), actual)
        self._changed.set()
        self._changed = asyncio.Event()

    def add(self, amounts: Amounts) -> None:
        """Count what was spent before and found out later."""
        self._committed = plus(self._committed, amounts)

    def _shortage(self, amounts: Amounts) -> Shortage | None:
        short = (
            Shortage(limit, self._committed.get(limit.unit, 0), self._reserved.get(limit.unit, 0))
            for limit in self._limits
            if amounts.get(limit.unit) and self._committed.get(limit.unit, 0) >= limit.most
        )
        return max(short, key=lambda one: one.is_final, default=None)


def request_budget(task: Mapping[str, Any]) -> RequestBudget:
    """What the task may still consume. Fields that came later are read leniently: older versions stored tasks, too."""
    given = task.get("budget") or {}
    limits = limits_in(given)
    fix = f"raise it with POST /v1/tasks/{task['_id']}/budget" if given.get("on_exceeded") == ASK else FIX
    return RequestBudget(limits, spent_by(task), fix=fix)


def limits_in(given: Mapping[str, Any]) -> dict[Unit, int]:
    """Of a budget as clients write it."""
    return {unit: counted(unit, given[unit]) for unit in Unit if given.get(unit) is not None}


def spent_by(task: Mapping[str, Any]) -> Amounts:
    """What a task has consumed in the attempts that have ended."""
    cost = task.get("cost") or {}
    seen = {
        Unit.USD: counted(Unit.USD, cost.get("usd_estimate", 0.0)),
        Unit.TOKENS: cost.get("total_tokens", 0),
        Unit.MODEL_CALLS: cost.get("model_calls", 0),
        Unit.WALL_SECONDS: time_worked(task.get("history", ())) // timedelta(milliseconds=1),
    }
    return plus(seen, unseen_by(task))


def unseen_by(task: Mapping[str, Any]) -> dict[Unit, int]:
    """The part of it that its cost does not show."""
    return {Unit(name): amount for name, amount in (task.get(UNSEEN) or {}).items()}


def time_worked(history: Iterable[Mapping[str, Any]]) -> timedelta:
    """How long attempts were in progress: from each claim to the entry that follows it."""
    total, claimed_at = timedelta(), None
    for entry in history:
        if claimed_at is not None:
            total += max(entry["at"] - claimed_at, timedelta())
        claimed_at = entry["at"] if entry["reason"] == Reason.CLAIMED.value else None
    return total
