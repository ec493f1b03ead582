"""Budgets for tests, over whatever store the test has."""

from datetime import timedelta
from typing import Any

from app.clock import Clock
from app.database.documents import Database, Documents
from app.governance.budgets import ledger, repository
from app.governance.budgets.accounts import NO_BUDGETS, Budgets
from app.governance.budgets.book import BudgetBook
from app.governance.budgets.ledger import BudgetLedger
from app.governance.budgets.repository import BudgetRepository
from app.governance.budgets.spending import BudgetEnforcer, Spending
from app.governance.budgets.wall_clock import SLICE
from app.llm.prices import Prices
from tests.job_builders import NOON, TENANT

PATIENCE = timedelta(minutes=2)
MAX_TOKENS = 100


def a_repository(database: Database) -> BudgetRepository:
    return BudgetRepository(Documents(database[repository.COLLECTION]))


def a_book(database: Database, configured: Budgets = NO_BUDGETS, *, clock: Clock) -> BudgetBook:
    return BudgetBook(configured, a_repository(database), monotonic=lambda: (clock() - NOON).total_seconds())


def the_ledger(database: Database, *, clock: Clock) -> BudgetLedger:
    return BudgetLedger(Documents(database[ledger.COLLECTION]), clock=clock, patience=PATIENCE)


def an_enforcer(
    database: Database, configured: Budgets = NO_BUDGETS, *, clock: Clock, time_slice: timedelta = SLICE
) -> BudgetEnforcer:
    """One worker's; those over the same database share what they count."""
    return BudgetEnforcer(
        a_book(database, configured, clock=clock),
        the_ledger(database, clock=clock),
        price=Prices().estimate,
        max_tokens=MAX_TOKENS,
        clock=clock,
        time_slice=time_slice,
    )


def a_task(**fields: Any) -> dict[str, Any]:
    """As much of a task as its budgets look at."""
    return {"_id": "t-1", "tenant_id": TENANT, "session_id": "s-1", "cost": None, "history": [], **fields}


def spending_of(enforcer: BudgetEnforcer, *, agent: str = "CodeAgent", **fields: Any) -> Spending:
    return enforcer.of_attempt(a_task(**fields), agent=agent)
