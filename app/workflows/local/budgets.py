"""What a run, and the steps in it that have a budget, may still consume. In memory: a run has one process."""

import time
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from datetime import timedelta
from typing import Any, TypeVar

from app.governance.budgets.models import (
    NOTHING,
    SCALES,
    Amounts,
    ModelUnpriced,
    Unit,
    counted,
    plus,
)
from app.governance.budgets.pricing import Price, carried
from app.governance.budgets.request import RequestBudget
from app.governance.budgets.spending import Hold
from app.governance.budgets.wall_clock import SLICE, WallClock
from app.workflows.costs import NO_COST
from app.workflows.language.models import BudgetSpec
from app.workflows.local.history import History
from app.workflows.places import cases_of
from app.workflows.plan import Plan
from app.workflows.run import Execute
from app.workflows.steps.budgets import budgets_of, limits_of

T = TypeVar("T")
Note = Callable[..., object]
MILLISECOND = timedelta(milliseconds=1)
FIX = "raise the budget in the workflow, and resume with --accept-changes"


class Accounts:
    """One budget per part of the run that has one, by path; the run's own is at ``""``."""

    def __init__(self, plan: Plan, history: History) -> None:
        self._plan = plan
        self._history = history
        self._open: dict[str, RequestBudget] = {}

    def of(self, execute: Execute) -> list[RequestBudget]:
        """Those that a step draws on, the outermost first."""
        budgets = budgets_of(self._plan, execute.path, cases_of(execute))
        return [self._account(path, spec) for path, spec in budgets]

    def _account(self, path: str, spec: BudgetSpec) -> RequestBudget:
        if path not in self._open:
            # Of what was spent before this process: later calls are counted as they are made.
            spent = _spent(self._history.cost_of(path.removesuffix(".")))
            self._open[path] = RequestBudget(limits_of(spec), spent, fix=FIX)
        return self._open[path]


class LocalSpending:
    """One attempt's, on every account that it draws on."""

    def __init__(self, accounts: Sequence[RequestBudget], *, price: Price, max_tokens: int, note: Note) -> None:
        """``note`` is told by its ``cost`` what the attempt has consumed so far, each time that it is more."""
        self._accounts = accounts
        self._note = note
        self._spent: Amounts = NOTHING
        self._began_at = time.monotonic()
        self._slice: Hold | None = None
        self.price = price
        self.max_tokens = max_tokens

    def carry(self, document: Mapping[str, Any]) -> None:
        for account in self._accounts:
            account.add(carried(document, self.price))

    async def check_no_usd(self, model: str) -> None:
        """Raises `ModelUnpriced`."""
        if any(account.limits(Unit.USD) for account in self._accounts):
            raise ModelUnpriced(
                f"no price is known for the model {model!r}, so a budget in US dollars cannot be kept: set LLM_PRICES "
                "or limit tokens instead"
            )

    async def reserve(self, amounts: Amounts) -> Hold:
        """Raises `BudgetExceeded`, with nothing reserved."""
        reserved: list[RequestBudget] = []
        try:
            for account in self._accounts:
                await account.reserve(amounts)
                reserved.append(account)
        except BaseException:
            _settle(reserved, amounts, NOTHING)
            raise
        return Hold(amounts, ())

    async def settle(self, hold: Hold, actual: Amounts | None) -> None:
        spent = hold.amounts if actual is None else actual
        _settle(self._accounts, hold.amounts, spent)
        if spent:
            self._spent = plus(self._spent, spent)
            self._note(cost=self._cost())

    def _cost(self) -> dict[str, float]:
        return {
            **NO_COST,
            "usd": round(self._spent.get(Unit.USD, 0) / SCALES[Unit.USD], 8),
            "tokens": self._spent.get(Unit.TOKENS, 0),
            "model_calls": self._spent.get(Unit.MODEL_CALLS, 0),
            "seconds": round(time.monotonic() - self._began_at, 3),
        }

    async def timed(self, work: Callable[[], Awaitable[T]]) -> T:
        """Raises `BudgetExceeded` when the working time of a budget ends it."""
        return await WallClock(self._begin_slice, self._end_slice).run(work)

    async def _begin_slice(self) -> timedelta | None:
        lefts = [left for account in self._accounts if (left := account.left(Unit.WALL_SECONDS)) is not None]
        if not lefts:
            return None
        # Also of what is used up, so that reserving says whose it is.
        length = min(SLICE, max(min(lefts), 1) * MILLISECOND)
        self._slice = await self.reserve({Unit.WALL_SECONDS: length // MILLISECOND})
        return length

    async def _end_slice(self, taken: timedelta) -> None:
        ended, self._slice = self._slice, None
        if ended is not None:
            await self.settle(ended, {Unit.WALL_SECONDS: taken // MILLISECOND})


def _spent(cost: Mapping[str, float]) -> dict[Unit, int]:
    spent = {
        Unit.USD: cost["usd"],
        Unit.TOKENS: cost["tokens"],
        Unit.MODEL_CALLS: cost["model_calls"],
        Unit.WALL_SECONDS: cost["seconds"],
    }
    return {unit: counted(unit, amount) for unit, amount in spent.items()}


def _settle(accounts: Iterable[RequestBudget], reserved: Amounts, actual: Amounts) -> None:
    for account in accounts:
        account.settle(reserved, actual)
