"""Budgets as values: what is limited, for whom and for how long. Pure.

Amounts are whole numbers, so that sums stay exact: nano-dollars, tokens, calls and milliseconds.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from app.errors import ExecutionError, NotAsked, NotFound
from app.setting_budgets import BudgetLimits


class Unit(StrEnum):
    USD = "usd"
    TOKENS = "tokens"
    MODEL_CALLS = "model_calls"
    WALL_SECONDS = "wall_seconds"


class Scope(StrEnum):
    """Whose consumption is limited."""

    REQUEST = "request"
    SESSION = "session"
    WORKFLOW = "workflow"
    AGENT = "agent"
    TENANT = "tenant"


class Period(StrEnum):
    """Which time's consumption is counted together; ``TOTAL`` never begins anew."""

    DAY = "day"
    MONTH = "month"
    TOTAL = "total"


Amounts = Mapping[Unit, int]
NOTHING: Amounts = {}
# How many of what is counted make one of what is shown.
SCALES: Mapping[Unit, int] = {Unit.USD: 10**9, Unit.TOKENS: 1, Unit.MODEL_CALLS: 1, Unit.WALL_SECONDS: 1000}
# Where a name stands for all that have no budget of their own.
EVERYBODY = "*"


class BudgetExceeded(ExecutionError):
    """No more may be consumed; ``shortage`` says of what."""

    code = "BUDGET_EXCEEDED"
    title = "Budget exceeded"

    def __init__(self, shortage: "Shortage") -> None:
        super().__init__(shortage.message)
        self.shortage = shortage


class BudgetBusy(NotAsked):
    """What is left may be needed for calls that are being made at this moment; when they end, it is known."""

    code = "BUDGET_BUSY"
    title = "Budget reserved by other calls"
    reason = "budget_busy"


class ModelUnpriced(ExecutionError):
    """A budget in US dollars cannot be kept for a model without a known price."""

    code = "MODEL_UNPRICED"
    title = "Model without a known price"


class BudgetNotFound(NotFound):
    code = "BUDGET_NOT_FOUND"
    title = "Budget not found"


@dataclass(frozen=True, slots=True)
class Limit:
    """``most`` of one unit for one scope and period; ``fix`` is what helps when it is reached.

    ``counter`` names where an account counts the consumption.
    """

    scope: Scope
    name: str
    period: Period
    unit: Unit
    most: int
    fix: str
    counter: str = ""


@dataclass(frozen=True, slots=True)
class Shortage:
    """A limit that leaves nothing to consume; of what is ``committed``, ``reserved`` is for what has not ended."""

    limit: Limit
    committed: int
    reserved: int = 0

    @property
    def is_final(self) -> bool:
        """Whether what was spent alone reaches the limit."""
        return self.committed - self.reserved >= self.limit.most

    @property
    def message(self) -> str:
        limit = self.limit
        spent = shown(limit.unit, self.committed - self.reserved)
        most = f"{shown(limit.unit, limit.most):g} {limit.unit}"
        return f"the budget of {_owner(limit)} ({most}) is used up: {spent:.10g} {limit.unit} spent; {limit.fix}"


def shown(unit: Unit, amount: int) -> float:
    """An amount as people write it: dollars, tokens, calls or seconds."""
    return amount / SCALES[unit] if SCALES[unit] > 1 else amount


def counted(unit: Unit, value: float) -> int:
    """The reverse of `shown`."""
    return round(value * SCALES[unit])


def amounts_of(limits: BudgetLimits | None) -> dict[Unit, int]:
    """The limits that are given."""
    given = {} if limits is None else limits.model_dump(exclude_none=True)
    return {Unit(name): counted(Unit(name), value) for name, value in given.items()}


def plus(one: Amounts, other: Amounts, *, times: int = 1) -> dict[Unit, int]:
    """The sum, without units of which nothing is left."""
    sums = {unit: one.get(unit, 0) + times * other.get(unit, 0) for unit in Unit}
    return {unit: amount for unit, amount in sums.items() if amount}


def _owner(limit: Limit) -> str:
    if limit.scope is Scope.REQUEST:
        return "the request"
    whose = f"{limit.scope} {limit.name}"
    return whose if limit.period is Period.TOTAL else f"{whose} for a {limit.period}"
