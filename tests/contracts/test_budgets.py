"""Budgets that several workers share, over the fake and over the embedded store."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
from pymongo import AsyncMongoClient

from app.database.documents import Database, Documents
from app.database.indexes import ensure_indexes
from app.governance.budgets import ledger, repository
from app.governance.budgets.accounts import Account, Budgets, Rules, Work
from app.governance.budgets.ledger import BudgetLedger, Reservation
from app.governance.budgets.models import EVERYBODY, NOTHING, Scope, Shortage, Unit
from app.governance.budgets.repository import BudgetRepository
from app.setting_budgets import BudgetLimits, PeriodBudget
from tests.budget_builders import PATIENCE, the_ledger
from tests.fakes.mongo import fake_mongo
from tests.job_builders import NOON, OTHER_TENANT, SECOND, TENANT, FakeClock
from tests.processes import Server

DAY = timedelta(days=1)
TOKENS = {Unit.TOKENS: 10}


@pytest.fixture(params=["fake", "embedded"])
async def database(request: pytest.FixtureRequest) -> AsyncIterator[Database]:
    if request.param == "fake":
        yield fake_mongo()["tests"]
        return
    store: Server = request.getfixturevalue("store")
    client: AsyncMongoClient[dict[str, Any]] = AsyncMongoClient(store.mongo_uri, tz_aware=True)
    found = client[f"budgets_{uuid4().hex}"]
    await ensure_indexes(found, (*ledger.INDEXES, *repository.INDEXES))
    yield found
    await client.close()


def a_budget(*, day: int | None = None, month: int | None = None) -> PeriodBudget:
    return PeriodBudget(
        day=None if day is None else BudgetLimits(tokens=day),
        month=None if month is None else BudgetLimits(tokens=month),
    )


@dataclass
class Books:
    """Workers that share a store, and the accounts of one tenant's work."""

    database: Database
    clock: FakeClock

    def worker(self) -> BudgetLedger:
        return the_ledger(self.database, clock=self.clock)

    def account(
        self, budgets: Budgets, *, tenant: str = TENANT, agent: str = "CodeAgent", session: str = "s"
    ) -> Account:
        (account,) = Rules(budgets).accounts(Work(tenant, session, agent), self.clock())
        return account

    async def tokens(self, account: Account, counter: str) -> tuple[int, int]:
        """What a counter says: committed, and of that reserved."""
        found = (await self.worker().find(account.tenant_id, account.id)).get(counter)
        return (0, 0) if found is None else (found.committed.get(Unit.TOKENS, 0), found.reserved.get(Unit.TOKENS, 0))


@pytest.fixture
def books(database: Database) -> Books:
    return Books(database, FakeClock())


async def taken(worker: BudgetLedger, account: Account, amounts: Any = TOKENS) -> Reservation:
    answer = await worker.reserve(account, amounts, task_id="t")
    assert isinstance(answer, Reservation), answer
    return answer


async def refused(worker: BudgetLedger, account: Account, amounts: Any = TOKENS) -> Shortage:
    answer = await worker.reserve(account, amounts, task_id="t")
    assert isinstance(answer, Shortage), answer
    return answer


async def test_concurrent_calls_of_several_workers_overshoot_by_one_call_at_most(books: Books) -> None:
    account = books.account(Budgets({TENANT: a_budget(day=95)}))
    workers = [books.worker() for _ in range(4)]

    answers = await asyncio.gather(*(worker.reserve(account, TOKENS, task_id="t") for worker in workers * 10))

    reserved = [one for one in answers if isinstance(one, Reservation)]
    assert len(reserved) == 10
    assert await books.tokens(account, "tenant.day21") == (100, 100)
    assert not any(one.is_final for one in answers if isinstance(one, Shortage))


async def test_what_is_settled_counts_with_what_it_was_and_once(books: Books) -> None:
    account, worker = books.account(Budgets({TENANT: a_budget(day=10)})), books.worker()
    reservation = await taken(worker, account)

    assert await worker.settle(reservation, {Unit.TOKENS: 4})
    assert not await worker.settle(reservation, {Unit.TOKENS: 4})

    assert await books.tokens(account, "tenant.day21") == (4, 0)
    await worker.settle(await taken(worker, account), {Unit.TOKENS: 6})
    shortage = await refused(worker, account)
    assert shortage.is_final
    assert shortage.message.startswith("the budget of tenant acme for a day (10 tokens) is used up: 10 tokens spent")


async def test_a_call_that_was_not_made_gives_its_reservation_back(books: Books) -> None:
    account, worker = books.account(Budgets({TENANT: a_budget(day=10)})), books.worker()

    await worker.settle(await taken(worker, account), NOTHING)

    assert await books.tokens(account, "tenant.day21") == (0, 0)
    await taken(worker, account)


async def test_a_day_begins_anew_and_its_month_goes_on(books: Books) -> None:
    budgets, worker = Budgets({TENANT: a_budget(day=10, month=25)}), books.worker()
    for _ in range(2):
        account = books.account(budgets)
        await worker.settle(await taken(worker, account), TOKENS)
        assert (await refused(worker, account)).limit.period == "day"
        books.clock.advance(DAY)

    third_day = books.account(budgets)
    await worker.settle(await taken(worker, third_day), TOKENS)
    books.clock.advance(DAY)
    assert (await refused(worker, books.account(budgets))).limit.period == "month"

    books.clock.advance(8 * DAY)
    await taken(worker, books.account(budgets))


async def test_a_call_that_ends_after_midnight_counts_where_it_began(books: Books) -> None:
    budgets, worker = Budgets({TENANT: a_budget(day=100)}), books.worker()
    before = books.account(budgets)
    reservation = await taken(worker, before)

    books.clock.advance(DAY)
    await taken(worker, books.account(budgets))
    await worker.settle(reservation, {Unit.TOKENS: 3})

    assert await books.tokens(before, "tenant.day21") == (3, 0)
    assert await books.tokens(before, "tenant.day22") == (10, 10)
    assert await books.tokens(before, "tenant.month") == (13, 10)


async def test_an_agents_and_its_tenants_budget_are_reserved_together_or_not_at_all(books: Books) -> None:
    budgets = Budgets({TENANT: a_budget(month=100)}, {"CodeAgent": a_budget(day=10)})
    worker, code = books.worker(), books.account(budgets)
    await taken(worker, code)

    assert (await refused(worker, code)).limit.scope is Scope.AGENT

    assert await books.tokens(code, "tenant.month") == (10, 10)
    await taken(worker, books.account(budgets, agent="ContentAgent"))
    assert await books.tokens(code, "tenant.month") == (20, 20)


async def test_a_session_is_counted_apart_and_without_end(books: Books) -> None:
    budgets, worker = Budgets(session=BudgetLimits(tokens=10)), books.worker()
    account = books.account(budgets, session="one")
    await worker.settle(await taken(worker, account), TOKENS)

    books.clock.advance(60 * DAY)

    assert (await refused(worker, books.account(budgets, session="one"))).limit.scope is Scope.SESSION
    await taken(worker, books.account(budgets, session="two"))
    await taken(worker, books.account(budgets, session="one", tenant=OTHER_TENANT))


async def test_a_limit_on_something_else_is_not_in_the_way(books: Books) -> None:
    budgets, worker = Budgets({TENANT: PeriodBudget(day=BudgetLimits(tokens=0, wall_seconds=5))}), books.worker()
    account = books.account(budgets)

    await refused(worker, account)
    await taken(worker, account, {Unit.WALL_SECONDS: 1000})


async def test_what_a_killed_worker_had_reserved_is_counted_in_full_and_reserved_no_more(books: Books) -> None:
    account, dead, alive = books.account(Budgets({TENANT: a_budget(day=10)})), books.worker(), books.worker()
    lost = await taken(dead, account)
    assert not (await refused(alive, account)).is_final

    books.clock.advance(PATIENCE)
    assert await books.worker().close_abandoned() == 0
    books.clock.advance(SECOND)
    assert await books.worker().close_abandoned() == 1
    assert await books.worker().close_abandoned() == 0

    assert (await refused(alive, account)).is_final
    # Its late settling, should it come after all, changes nothing.
    assert not await dead.settle(lost, NOTHING)
    assert await books.tokens(account, "tenant.day21") == (10, 0)


async def test_no_tenant_sees_or_changes_what_another_has_stored(books: Books, database: Database) -> None:
    stored = BudgetRepository(Documents(database[repository.COLLECTION]))
    await stored.put(TENANT, Scope.AGENT, EVERYBODY, {"day": {"tokens": 5}}, by="key", at=NOON)
    await stored.put(TENANT, Scope.AGENT, EVERYBODY, {"day": {"tokens": 7}}, by="key", at=NOON)

    assert await stored.read(OTHER_TENANT) == Budgets()
    assert (await stored.read(TENANT)).agents == {EVERYBODY: a_budget(day=7)}
    assert not await stored.delete(OTHER_TENANT, Scope.AGENT, EVERYBODY)
    assert await stored.delete(TENANT, Scope.AGENT, EVERYBODY)
