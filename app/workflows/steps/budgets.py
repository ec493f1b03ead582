"""Which budgets of a workflow hold for a step, and what they limit. Pure."""

from collections.abc import Iterable

from app.governance.budgets.models import Unit, counted
from app.workflows.language.models import BudgetSpec
from app.workflows.places import Cases, way_to
from app.workflows.plan import Plan


def budgets_of(plan: Plan, path: str, cases: Cases = ()) -> Iterable[tuple[str, BudgetSpec]]:
    """Of the run, of the steps that this one is inside of, of the sub-workflows these call, and its own.

    Each with the path of what it is of, which is without an item's place: the budget of a step is that of all its
    items. That of the run is at ``""``, that of a sub-workflow ends with a dot.
    """
    if plan.workflow.budget:
        yield "", plan.workflow.budget
    for passed in way_to(plan, path, cases):
        if passed.step.budget:
            yield passed.path, passed.step.budget
        if passed.step.workflow and (budget := passed.plan.parts[passed.step.workflow].workflow.budget):
            yield f"{passed.path}.", budget


def limits_of(spec: BudgetSpec) -> dict[Unit, int]:
    given = {
        Unit.USD: spec.usd,
        Unit.TOKENS: spec.tokens,
        Unit.MODEL_CALLS: spec.model_calls,
        Unit.WALL_SECONDS: spec.wall_clock.total_seconds() if spec.wall_clock else None,
    }
    return {unit: counted(unit, limit) for unit, limit in given.items() if limit is not None}
