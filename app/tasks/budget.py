"""A task that ran into a budget and asks instead of failing: how it waits, and what lets it go on. Pure."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from app.errors import Invalid
from app.governance.budgets.models import Scope, Shortage, Unit, shown
from app.jobs.outcomes import Suspended
from app.tasks.holds import Answer, HoldKind, get_hold, held


def held_by_budget(shortage: Shortage, *, since: datetime) -> Suspended:
    """The task waits for somebody to raise the budget."""
    limit = shortage.limit
    facts = {
        "scope": limit.scope.value,
        "name": limit.name,
        "period": limit.period.value,
        "unit": limit.unit.value,
        "limit": shown(limit.unit, limit.most),
        "spent": shown(limit.unit, shortage.committed - shortage.reserved),
    }
    return held(HoldKind.BUDGET, f"budget exhausted: {shortage.message}", since=since, facts=facts)


def raised_budget(raised: Mapping[Unit, float]) -> Answer:
    """New limits of the task, for it to go on; none when another budget than its own was used up."""

    def fields(task: Mapping[str, Any]) -> dict[str, Any]:
        return _raised_fields(task, raised)

    return Answer(HoldKind.BUDGET, {unit.value: limit for unit, limit in raised.items()}, fields)


def _raised_fields(task: Mapping[str, Any], raised: Mapping[Unit, float]) -> dict[str, Any]:
    given, facts = task.get("budget") or {}, get_hold(task, HoldKind.BUDGET)["facts"]
    for unit, limit in raised.items():
        _check_raise(unit, limit, given.get(unit))
    if facts["scope"] == Scope.REQUEST and raised.get(Unit(facts["unit"]), 0) <= facts["spent"]:
        unit = facts["unit"]
        raise Invalid(f"{facts['spent']:.10g} {unit} are spent already: give a limit above that", field=unit)
    return {f"budget.{unit}": limit for unit, limit in raised.items()}


def _check_raise(unit: Unit, limit: float, present: float | None) -> None:
    if present is None:
        raise Invalid(f"the task has no limit of {unit} that could be raised: leave it out", field=unit.value)
    if limit < present:
        raise Invalid(f"the limit of {unit} is {present:.10g} already, and can only be raised", field=unit.value)
