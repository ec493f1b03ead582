"""The budgets as every process sees them."""

from datetime import timedelta

from app.bootstrap.core import Core
from app.governance.budgets import ledger, repository
from app.governance.budgets.accounts import Budgets
from app.governance.budgets.book import BudgetBook
from app.governance.budgets.ledger import BudgetLedger
from app.governance.budgets.repository import BudgetRepository
from app.governance.budgets.service import BudgetService
from app.settings import Settings
from app.tasks.models import ROUTER

# What a call may take beyond its own limit: waits for the store, for its turn, and of a loop that lags.
MARGIN = timedelta(seconds=30)


def configured_budgets(settings: Settings) -> Budgets:
    return Budgets(settings.tenant_budgets, settings.agent_budgets, settings.session_budget)


def build_repository(core: Core) -> BudgetRepository:
    return BudgetRepository(core.documents(repository.COLLECTION))


def build_book(core: Core) -> BudgetBook:
    return BudgetBook(configured_budgets(core.settings), build_repository(core))


def build_ledger(core: Core) -> BudgetLedger:
    patience = 2 * timedelta(seconds=core.settings.llm_timeout_sec) + MARGIN
    return BudgetLedger(core.documents(ledger.COLLECTION), clock=core.clock, patience=patience)


def build_service(core: Core) -> BudgetService:
    def agents() -> list[str]:
        return [ROUTER, *(spec.name for spec in core.registry.list_agents())]

    return BudgetService(build_book(core), build_ledger(core), build_repository(core), agents=agents, clock=core.clock)
