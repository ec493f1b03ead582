"""Finds the step of a plan that a path such as `review[2].fix` is of."""

import re
from collections.abc import Collection, Iterator

from app.workflows.language.models import Step
from app.workflows.plan import Node, Plan, Scope
from app.workflows.run import ENDING

_PLACES = re.compile(r"\[\d+\]")


def step_at(plan: Plan, path: str) -> Step | None:
    """None for a path of another plan."""
    names = _PLACES.sub("", path).split(".")
    return _step_in(plan, [plan.body, plan.ending], names)


def _step_in(plan: Plan, scopes: list[Scope], names: list[str]) -> Step | None:
    name, *rest = names
    if name == ENDING and rest:
        return _step_in(plan, [plan.ending], rest)
    for node in (node for scope in scopes for node in scope.nodes if node.name == name):
        if not rest:
            return node.step
        inner, inside = scopes_of(plan, node)
        if inside and (found := _step_in(inner, inside, rest)):
            return found
    return None


def scopes_of(plan: Plan, node: Node) -> tuple[Plan, list[Scope]]:
    """What a step holds, and the plan that this is of."""
    if node.step.workflow is not None:
        part = plan.parts[node.step.workflow]
        return part, [part.body, part.ending]
    return plan, [scope for scope in (node.body, *node.cases.values(), node.otherwise) if scope is not None]


def steps_in(plan: Plan) -> Iterator[Step]:
    """All of a plan, those of its sub-workflows too."""
    todo = [(plan, scope) for scope in (plan.body, plan.ending)]
    while todo:
        around, scope = todo.pop()
        for node in scope.nodes:
            yield node.step
            inner, inside = scopes_of(around, node)
            todo.extend((inner, one) for one in inside)


def was_entered(scope: Scope, prefix: str, known: Collection[str], *, is_over: bool) -> bool:
    """Whether these are the steps that are known at this place; cases of a switch may have steps of the same name.

    All steps of a case that is over are known.
    """
    begun = {path[len(prefix) :].partition(".")[0].partition("[")[0] for path in known if path.startswith(prefix)}
    names = {node.name for node in scope.nodes}
    return begun == names if is_over else bool(begun) and begun <= names
