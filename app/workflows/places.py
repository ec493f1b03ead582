"""Finds the step of a plan that a path such as `review[2].fix` is of."""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from app.workflows.language.models import Step
from app.workflows.plan import Node, Plan, Scope
from app.workflows.run import ENDING, Execute

# The value that a switch had for a case of its own; None for its `else`.
Cases = Sequence[str | None]


@dataclass(frozen=True, slots=True)
class Passed:
    """A step on the way to another; ``path`` is without its own place among items or iterations.

    ``plan`` is the one that the step is of.
    """

    path: str
    step: Step
    plan: Plan


def step_at(plan: Plan, path: str, cases: Cases = ()) -> Step | None:
    """None for a path of another plan. ``cases`` are as for `way_to`."""
    way = way_to(plan, path, cases)
    return way[-1].step if way else None


def way_to(plan: Plan, path: str, cases: Cases = ()) -> list[Passed]:
    """The steps that the one at this path is inside of, the outermost first, and itself; none for another plan's path.

    ``cases`` are those that were taken on the way, as `cases_of` tells them: two of a switch may have steps of the
    same name. Without them the first that fits is taken.
    """
    return _way(plan, [plan.body, plan.ending], path.split("."), "", cases)


def cases_of(execute: Execute) -> list[str | None]:
    """Of the switches that this step is inside of, the outermost first."""
    steps = [*(step for _, step in execute.around), execute.step]
    # An item stands inside of its own step.
    passed = ((outer, inner) for outer, inner in pairwise(steps) if inner is not outer)
    return [_case_of(outer, inner) for outer, inner in passed if outer.switch is not None]


def enclosing(path: str) -> Iterator[str]:
    """The paths that this one is inside of, the outermost first, and itself."""
    yield from (path[:place] for place, character in enumerate(path) if character in ".[")
    yield path


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


def _way(plan: Plan, scopes: list[Scope], parts: list[str], before: str, cases: Cases) -> list[Passed]:
    part, *rest = parts
    name = part.partition("[")[0]
    if name == ENDING and rest:
        return _way(plan, [plan.ending], rest, f"{before}{part}.", cases)
    for node in (node for scope in scopes for node in scope.nodes if node.name == name):
        here = Passed(f"{before}{name}", node.step, plan)
        if not rest:
            return [here]
        inner, inside = scopes_of(plan, node)
        left = cases
        if node.step.switch is not None and cases:
            inside, left = _taken(node, cases[0]), cases[1:]
        if inside and (found := _way(inner, inside, rest, f"{before}{part}.", left)):
            return [here, *found]
    return []


def _taken(node: Node, case: str | None) -> list[Scope]:
    scope = node.otherwise if case is None else node.cases.get(case)
    return [] if scope is None else [scope]


def _case_of(switch: Step, inner: Step) -> str | None:
    cases = (switch.cases or {}).items()
    return next((value for value, case in cases if any(one is inner for one in case.steps.values())), None)
