"""A reservation that is interrupted: whatever had taken effect by then is taken back."""

import asyncio
from dataclasses import replace
from typing import Any

import pytest
from pymongo.errors import AutoReconnect

from app.database.documents import Database
from app.governance.budgets import ledger
from app.governance.budgets.models import Unit
from app.setting_budgets import BudgetLimits
from tests.budget_builders import an_enforcer, spending_of, the_ledger
from tests.job_builders import TENANT, FakeClock
from tests.unit.test_budgets_chat import Model, ask, tenant_budget


class LostAnswers:
    """Writes to the accounts take effect; the answer to one of them, counted from 1, is lost."""

    def __init__(self, database: Any, *, lost: int, is_away: bool) -> None:
        self._database = database
        self._lost = lost
        self._writes = 0
        self.is_away = is_away
        self.written = asyncio.Event()
        self.noticed = asyncio.Event()

    def __getitem__(self, name: str) -> Any:
        collection = self._database[name]
        return self if name == ledger.COLLECTION else collection

    def __getattr__(self, method: str) -> Any:
        return getattr(self._database[ledger.COLLECTION], method)

    async def update_one(self, *arguments: Any, **options: Any) -> Any:
        self._writes += 1
        is_lost = self._writes == self._lost
        answer = await self._database[ledger.COLLECTION].update_one(*arguments, **options)
        if is_lost:
            self.written.set()
            await self.noticed.wait()
            if self.is_away:
                raise AutoReconnect("gone")
        return answer


@pytest.mark.parametrize("lost", [1, 2], ids=["session", "tenant"])
@pytest.mark.parametrize("is_cancelled", [True, False], ids=["cancelled", "store away"])
async def test_whatever_interrupts_reserving_leaves_nothing_reserved(
    database: Database, clock: FakeClock, lost: int, *, is_cancelled: bool
) -> None:
    store, model = LostAnswers(database, lost=lost, is_away=not is_cancelled), Model()
    configured = replace(tenant_budget(tokens=1000), session=BudgetLimits(tokens=1000))
    spending = spending_of(an_enforcer(store, configured, clock=clock))  # type: ignore[arg-type]
    call = asyncio.create_task(ask(spending, model))
    await store.written.wait()

    if is_cancelled:
        call.cancel()
    else:
        store.noticed.set()
    await asyncio.gather(call, return_exceptions=True)
    store.noticed.set()

    assert model.calls == 0
    accounts = await database[ledger.COLLECTION].find({}).to_list()
    assert {(one["_id"], one["held"], len(one["open"])) for one in accounts} == {
        (account, 0, 0) for account in (f"{TENANT}:session:s-1", f"{TENANT}:2026-11")[:lost]
    }
    consumed = await the_ledger(database, clock=clock).find(TENANT, f"{TENANT}:session:s-1")
    assert consumed["total"].committed.get(Unit.TOKENS, 0) == 0
