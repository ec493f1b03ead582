"""Which accounts of the budgets a step draws on because its workflow says so. Pure.

Each budget of an execution has an account of its own in the ledger that all workers share, and no period ends it.
"""

from app.governance.budgets.accounts import Account
from app.governance.budgets.models import Limit, Period, Scope
from app.workflows.language.models import BudgetSpec
from app.workflows.places import Cases
from app.workflows.plan import Plan
from app.workflows.steps.budgets import budgets_of, limits_of

FIX = "raise it in the workflow, and fork the execution from this step with `accept_changes`"
_COUNTER = "total"


def accounts_of(tenant_id: str, execution_id: str, plan: Plan, path: str, cases: Cases = ()) -> tuple[Account, ...]:
    """The outermost first; none for a step without a budget of any kind around it."""
    return tuple(
        _account(f"{tenant_id}:execution:{execution_id}:{owner}", tenant_id, _named(plan, owner), spec)
        for owner, spec in budgets_of(plan, path, cases)
    )


def _account(account_id: str, tenant_id: str, name: str, spec: BudgetSpec) -> Account:
    limits = tuple(
        Limit(Scope.WORKFLOW, name, Period.TOTAL, unit, most, FIX, _COUNTER) for unit, most in limits_of(spec).items()
    )
    return Account(account_id, tenant_id, (_COUNTER,), limits)


def _named(plan: Plan, owner: str) -> str:
    """As messages call it."""
    return f"{plan.workflow.name}, step {owner.removesuffix('.')}" if owner else plan.workflow.name
