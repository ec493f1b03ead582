"""Which accounts a piece of work is charged to, and under which limits: pure.

An account is one document. A tenant's account of a month counts what the tenant and its agents consume, by day and in
all, so that one write covers them together; a session has an account of its own, which no period ends.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from app.clock import to_iso
from app.governance.budgets.models import EVERYBODY, Amounts, Limit, Period, Scope, Unit, amounts_of
from app.setting_budgets import BudgetLimits, PeriodBudget

SETTINGS: Mapping[Scope, str] = {
    Scope.TENANT: "TENANT_BUDGETS",
    Scope.AGENT: "AGENT_BUDGETS",
    Scope.SESSION: "SESSION_BUDGET",
}
# More than any limit.
MOST = 2**62


@dataclass(frozen=True, slots=True)
class Account:
    """``counters`` are what a consumption adds to; all ``limits`` are on some of them."""

    id: str
    tenant_id: str
    counters: tuple[str, ...]
    limits: tuple[Limit, ...]


@dataclass(frozen=True, slots=True)
class Work:
    """Who consumes: an agent's run within a session of a tenant."""

    tenant_id: str
    session_id: str
    agent: str
    task_id: str = ""


@dataclass(frozen=True, slots=True)
class Budgets:
    """The budgets of one source. `EVERYBODY` stands for names without a budget of their own."""

    tenants: Mapping[str, PeriodBudget] = field(default_factory=dict)
    agents: Mapping[str, PeriodBudget] = field(default_factory=dict)
    session: BudgetLimits | None = None

    def of_tenant(self, tenant_id: str) -> PeriodBudget | None:
        return self.tenants.get(tenant_id) or self.tenants.get(EVERYBODY)

    def of_agent(self, name: str) -> PeriodBudget | None:
        return self.agents.get(name) or self.agents.get(EVERYBODY)


NO_BUDGETS = Budgets()


@dataclass(frozen=True, slots=True)
class Rules:
    """What holds for one tenant: the deployment's settings and what the tenant has stored, the lower of each."""

    configured: Budgets = NO_BUDGETS
    stored: Budgets = NO_BUDGETS

    def accounts(self, work: Work, now: datetime) -> tuple[Account, ...]:
        """The accounts that have limits for this work."""
        if self.configured == self.stored == NO_BUDGETS:
            return ()
        return tuple(
            account
            for account in (self.session_account(work.tenant_id, work.session_id), self._month_account(work, now))
            if account.limits
        )

    def session_account(self, tenant_id: str, session_id: str) -> Account:
        pair = self.configured.session, self.stored.session
        limits = _lower(Scope.SESSION, session_id, Period.TOTAL, "total", pair)
        return Account(f"{tenant_id}:session:{session_id}", tenant_id, ("total",), limits)

    def tenant_limits(self, tenant_id: str, now: datetime) -> tuple[Limit, ...]:
        pair = self.configured.of_tenant(tenant_id), self.stored.of_tenant(tenant_id)
        return _of_periods(Scope.TENANT, tenant_id, "tenant", pair, now)

    def agent_limits(self, name: str, now: datetime) -> tuple[Limit, ...]:
        pair = self.configured.of_agent(name), self.stored.of_agent(name)
        return _of_periods(Scope.AGENT, name, f"agents.{name}", pair, now)

    def _month_account(self, work: Work, now: datetime) -> Account:
        of_tenant, of_agent = self.tenant_limits(work.tenant_id, now), self.agent_limits(work.agent, now)
        counters = [
            counter
            for limits, base in ((of_tenant, "tenant"), (of_agent, f"agents.{work.agent}"))
            if limits
            for counter in (f"{base}.{day_of(now)}", f"{base}.month")
        ]
        return Account(month_account_id(work.tenant_id, now), work.tenant_id, tuple(counters), (*of_tenant, *of_agent))


def month_account_id(tenant_id: str, now: datetime) -> str:
    return f"{tenant_id}:{now:%Y-%m}"


def day_of(now: datetime) -> str:
    """The counter of a day within the account of its month."""
    return f"day{now:%d}"


def period_end(period: Period, now: datetime) -> datetime | None:
    """When counting begins anew."""
    midnight = now.replace(hour=0, minute=0, second=0, microsecond=0)
    match period:
        case Period.DAY:
            return midnight + timedelta(days=1)
        case Period.MONTH:
            # The first of a month and 31 days are always in the next one.
            return (midnight.replace(day=1) + timedelta(days=31)).replace(day=1)
        case _:
            return None


def _of_periods(
    scope: Scope, name: str, base: str, pair: tuple[PeriodBudget | None, PeriodBudget | None], now: datetime
) -> tuple[Limit, ...]:
    days = _limits_of(pair[0], Period.DAY), _limits_of(pair[1], Period.DAY)
    months = _limits_of(pair[0], Period.MONTH), _limits_of(pair[1], Period.MONTH)
    return (
        *_lower(scope, name, Period.DAY, f"{base}.{day_of(now)}", days, now),
        *_lower(scope, name, Period.MONTH, f"{base}.month", months, now),
    )


def _limits_of(budget: PeriodBudget | None, period: Period) -> BudgetLimits | None:
    if budget is None:
        return None
    return budget.day if period is Period.DAY else budget.month


def _lower(
    scope: Scope,
    name: str,
    period: Period,
    counter: str,
    pair: tuple[BudgetLimits | None, BudgetLimits | None],
    now: datetime | None = None,
) -> tuple[Limit, ...]:
    """The lower of what is configured and what is stored, for each unit that has a limit."""
    configured, stored = map(amounts_of, pair)
    end = period_end(period, now) if now else None
    until = f", or wait until {to_iso(end)}" if end else ""
    return tuple(
        Limit(scope, name, period, unit, most, f"{_raising(scope, name, unit, configured, most)}{until}", counter)
        for unit in Unit
        if (most := min(configured.get(unit, MOST), stored.get(unit, MOST))) < MOST
    )


def _raising(scope: Scope, name: str, unit: Unit, configured: Amounts, most: int) -> str:
    if configured.get(unit) == most:
        return f"raise {SETTINGS[scope]}"
    return f"raise it with PUT /v1/budgets/{scope}/{EVERYBODY if scope is Scope.SESSION else name}"
