"""What one attempt at a task may consume: its own budget, and those of its session, its agent and its tenant."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any, TypeVar

import structlog

from app.clock import Clock
from app.errors import OrchestratorError
from app.governance.budgets.accounts import Account, Rules, Work
from app.governance.budgets.book import BudgetBook
from app.governance.budgets.ledger import BudgetLedger, Reservation
from app.governance.budgets.models import (
    NOTHING,
    Amounts,
    BudgetBusy,
    BudgetExceeded,
    ModelUnpriced,
    Shortage,
    Unit,
    plus,
)
from app.governance.budgets.pricing import Price, carried
from app.governance.budgets.request import ASK, UNSEEN, request_budget, unseen_by
from app.governance.budgets.wall_clock import SLICE, WallClock

log = structlog.get_logger(__name__)

T = TypeVar("T")
MILLISECOND = timedelta(milliseconds=1)
# What is in the way are calls in progress; the kernel's back-off comes on top.
BUSY_PAUSE = timedelta(seconds=1)


@dataclass(frozen=True, slots=True)
class Hold:
    """What is reserved for one call, in the task's own budget and in the shared ones."""

    amounts: Amounts
    shared: tuple[Reservation, ...] = ()


class BudgetEnforcer:
    """Hands out the budgets of attempts, in one worker process."""

    def __init__(
        self,
        book: BudgetBook,
        ledger: BudgetLedger,
        *,
        price: Price,
        max_tokens: int,
        clock: Clock,
        time_slice: timedelta = SLICE,
    ) -> None:
        """``max_tokens`` is the longest answer of calls that name none; time is reserved a ``time_slice`` at a time."""
        self.book = book
        self.ledger = ledger
        self.price = price
        self.max_tokens = max_tokens
        self.clock = clock
        self.time_slice = time_slice

    def of_attempt(self, task: Mapping[str, Any], *, agent: str, accounts: tuple[Account, ...] = ()) -> "Spending":
        """``agent`` works first. All ``accounts`` are drawn on besides what the tenant's budgets say."""
        return Spending(self, task, agent=agent, accounts=accounts)


class Spending:
    """One attempt's. Its calls may be concurrent."""

    def __init__(
        self, enforcer: BudgetEnforcer, task: Mapping[str, Any], *, agent: str, accounts: tuple[Account, ...] = ()
    ) -> None:
        self.asks = (task.get("budget") or {}).get("on_exceeded") == ASK
        self.price = enforcer.price
        self.max_tokens = enforcer.max_tokens
        self._book = enforcer.book
        self._ledger = enforcer.ledger
        self._now = enforcer.clock
        self._time_slice = enforcer.time_slice
        self._own = request_budget(task)
        self._unseen = unseen_by(task)
        self._further = accounts
        self._work = Work(task["tenant_id"], task["session_id"], agent, task["_id"])
        self._slice: Hold | None = None
        self._wall_clock = WallClock(self._begin_slice, self._end_slice)

    def carry(self, document: Mapping[str, Any]) -> None:
        """Count what an attempt spent that was killed, as it is stored with its checkpoint."""
        self._own.add(carried(document, self.price))

    def as_fields(self) -> dict[str, Any]:
        """What the task has to remember of this attempt besides its cost."""
        return {UNSEEN: {unit.value: amount for unit, amount in self._unseen.items()}} if self._unseen else {}

    async def timed(self, work: Callable[[], Awaitable[T]]) -> T:
        """Do the work within the budgets of time; raises `BudgetExceeded` or `BudgetBusy` when they end it."""
        return await self._wall_clock.run(work)

    async def enter(self, agent: str) -> None:
        """From now on this agent works; raises `BudgetExceeded` or `BudgetBusy` when it has no time."""
        if agent != self._work.agent:
            self._work = replace(self._work, agent=agent)
            await self._wall_clock.next_slice()

    async def check_no_usd(self, model: str) -> None:
        """Raises `ModelUnpriced` when a budget in dollars applies to a call of this model, which has no price."""
        rules = await self._book.rules_of(self._work.tenant_id)
        if self._own.limits(Unit.USD) or _limits(self._accounts(rules), Unit.USD):
            raise ModelUnpriced(
                f"no price is known for the model {model!r}, so a budget in US dollars cannot be kept: set LLM_PRICES "
                "or limit tokens instead"
            )

    async def reserve(self, amounts: Amounts) -> Hold:
        """Reserve what a call may consume; raises `BudgetExceeded` or `BudgetBusy`, with nothing reserved."""
        await self._own.reserve(amounts)
        try:
            return Hold(amounts, await self._reserve_shared(amounts))
        except BaseException:
            self._own.settle(amounts, NOTHING)
            raise

    async def settle(self, hold: Hold, actual: Amounts | None) -> None:
        """Put what was consumed in the place of what was reserved; None stands for all of it."""
        if actual is None:
            # Calls are in the cost, whatever became of them.
            self._unseen = plus(self._unseen, {**hold.amounts, Unit.MODEL_CALLS: 0})
        consumed = hold.amounts if actual is None else actual
        self._own.settle(hold.amounts, consumed)
        await self._settle_all(hold.shared, consumed)

    def _accounts(self, rules: Rules) -> tuple[Account, ...]:
        return (*self._further, *rules.accounts(self._work, self._now()))

    async def _reserve_shared(self, amounts: Amounts) -> tuple[Reservation, ...]:
        rules = await self._book.rules_of(self._work.tenant_id)
        refused = await self._try(rules, amounts)
        if isinstance(refused, Shortage):
            newer = await self._book.read_again(self._work.tenant_id)
            refused = refused if newer == rules else await self._try(newer, amounts)
        if not isinstance(refused, Shortage):
            return refused
        if refused.is_final:
            raise BudgetExceeded(refused)
        raise BudgetBusy(
            f"calls in progress reserve what is left of the budget of {refused.limit.scope} {refused.limit.name}",
            retry_after=BUSY_PAUSE,
        )

    async def _try(self, rules: Rules, amounts: Amounts) -> tuple[Reservation, ...] | Shortage:
        reserved: list[Reservation] = []
        try:
            for account in self._accounts(rules):
                if not any(amounts.get(limit.unit) for limit in account.limits):
                    continue
                answer = await self._ledger.reserve(account, amounts, task_id=self._work.task_id)
                if isinstance(answer, Shortage):
                    await self._settle_all(reserved, NOTHING)
                    return answer
                reserved.append(answer)
        except BaseException:
            await self._settle_all(reserved, NOTHING)
            raise
        return tuple(reserved)

    async def _settle_all(self, reserved: Iterable[Reservation], consumed: Amounts) -> None:
        # All are begun at once: what is begun goes on, should this be cancelled again.
        await asyncio.gather(*(self._settle_shared(one, consumed) for one in reserved))

    async def _settle_shared(self, reservation: Reservation, consumed: Amounts) -> None:
        try:
            await self._ledger.settle(reservation, consumed)
        except OrchestratorError as error:
            # The upkeep counts it in full; the answer that it paid for must not be lost over this.
            log.warning("budget.not_settled", error_type=error.code)

    async def _begin_slice(self) -> timedelta | None:
        left = self._own.left(Unit.WALL_SECONDS)
        rules = await self._book.rules_of(self._work.tenant_id)
        if left is None and not _limits(self._accounts(rules), Unit.WALL_SECONDS):
            return None
        most = [limit.most for account in self._further for limit in account.limits if limit.unit is Unit.WALL_SECONDS]
        shortest = min([one for one in (left, *most) if one is not None and one > 0], default=None)
        length = self._time_slice if shortest is None else min(self._time_slice, shortest * MILLISECOND)
        self._slice = await self.reserve({Unit.WALL_SECONDS: length // MILLISECOND})
        return length

    async def _end_slice(self, taken: timedelta) -> None:
        ended, self._slice = self._slice, None
        if ended is not None:
            await self.settle(ended, {Unit.WALL_SECONDS: taken // MILLISECOND})


def _limits(accounts: tuple[Account, ...], unit: Unit) -> bool:
    return any(limit.unit is unit for account in accounts for limit in account.limits)
