"""The use cases of a tenant's budgets: read them with what was consumed, set them, delete them."""

import asyncio
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from app.clock import Clock
from app.database.documents import Document
from app.errors import Invalid
from app.governance.budgets.accounts import Rules, month_account_id
from app.governance.budgets.book import BudgetBook
from app.governance.budgets.ledger import BudgetLedger, Consumption
from app.governance.budgets.models import EVERYBODY, BudgetNotFound, Limit, Scope
from app.governance.budgets.repository import BudgetRepository

UNUSED = Consumption({}, {})


@dataclass(frozen=True, slots=True)
class BudgetState:
    """One budget: what is stored, and each limit that holds with what was consumed; None where that is per name."""

    scope: Scope
    name: str
    stored: Document | None
    limits: tuple[tuple[Limit, Consumption | None], ...]
    at: datetime


class BudgetService:
    def __init__(
        self,
        book: BudgetBook,
        ledger: BudgetLedger,
        repository: BudgetRepository,
        *,
        agents: Callable[[], Collection[str]],
        clock: Clock,
    ) -> None:
        """``agents`` names those that can have a budget."""
        self._book = book
        self._ledger = ledger
        self._repository = repository
        self._agents = agents
        self._clock = clock

    async def list_all(self, tenant_id: str) -> list[BudgetState]:
        """Every budget that the tenant has, its own first; of sessions only what holds for each."""
        rules, consumed = await asyncio.gather(self._book.read_again(tenant_id), self._consumed(tenant_id))
        stored = {(one["scope"], one["name"]): one for one in await self._repository.list_all(tenant_id)}
        agents = sorted({*rules.configured.agents, *rules.stored.agents})
        names = [(Scope.TENANT, tenant_id), *((Scope.AGENT, name) for name in agents), (Scope.SESSION, EVERYBODY)]
        states = [self._state(rules, scope, name, stored.get((scope, name)), consumed) for scope, name in names]
        return [state for state in states if state.limits]

    async def get(self, tenant_id: str, scope: Scope, name: str) -> BudgetState:
        """Raises `BudgetNotFound` where nothing is limited, and for other tenants."""
        self._check_name(tenant_id, scope, name)
        consumed = self._of_session(tenant_id, name) if scope is Scope.SESSION else self._consumed(tenant_id)
        rules, found, stored = await asyncio.gather(
            self._book.read_again(tenant_id), consumed, self._repository.find(tenant_id, scope, name)
        )
        state = self._state(rules, scope, name, stored, found)
        if not state.limits:
            raise BudgetNotFound(f"no budget of {scope} {name!r}", scope=scope, name=name)
        return state

    async def put(self, tenant_id: str, scope: Scope, name: str, limits: Mapping[str, Any], *, by: str) -> BudgetState:
        """Replace the stored budget. What the deployment configures holds besides, the lower of each limit."""
        self._check_name(tenant_id, scope, name)
        if scope is Scope.SESSION and name != EVERYBODY:
            raise Invalid("a session has no budget of its own: set that of all with the name `*`", field="owner")
        await self._repository.put(tenant_id, scope, name, limits, by=by, at=self._clock())
        return await self.get(tenant_id, scope, name)

    async def delete(self, tenant_id: str, scope: Scope, name: str) -> None:
        self._check_name(tenant_id, scope, name)
        if not await self._repository.delete(tenant_id, scope, name):
            raise BudgetNotFound(f"no stored budget of {scope} {name!r}", scope=scope, name=name)

    def _check_name(self, tenant_id: str, scope: Scope, name: str) -> None:
        if scope is Scope.TENANT and name != tenant_id:
            raise BudgetNotFound(f"no such tenant here: name your own, {tenant_id!r}", scope=scope, name=name)
        agents = (*self._agents(), EVERYBODY)
        if scope is Scope.AGENT and name not in agents:
            raise BudgetNotFound(f"no agent named {name!r}; there are {', '.join(agents)}", scope=scope, name=name)

    async def _consumed(self, tenant_id: str) -> Mapping[str, Consumption]:
        return await self._ledger.find(tenant_id, month_account_id(tenant_id, self._clock()))

    async def _of_session(self, tenant_id: str, session_id: str) -> Mapping[str, Consumption]:
        if session_id == EVERYBODY:
            return {}
        return await self._ledger.find(tenant_id, Rules().session_account(tenant_id, session_id).id)

    def _state(
        self, rules: Rules, scope: Scope, name: str, stored: Document | None, consumed: Mapping[str, Consumption]
    ) -> BudgetState:
        now = self._clock()
        # Where a name stands for many, each of them consumes for itself.
        limits = tuple(
            (limit, None if name == EVERYBODY else consumed.get(limit.counter, UNUSED))
            for limit in _limits(rules, scope, name, now)
        )
        return BudgetState(scope, name, stored, limits, now)


def _limits(rules: Rules, scope: Scope, name: str, now: datetime) -> tuple[Limit, ...]:
    match scope:
        case Scope.TENANT:
            return rules.tenant_limits(name, now)
        case Scope.AGENT:
            return rules.agent_limits(name, now)
        case _:
            return rules.session_account("", name).limits
