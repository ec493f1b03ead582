"""The cases of a switch: they can come, and one of them always fits."""

from app.expressions.tree import Node
from app.workflows.language.checks.findings import Findings, Path, nearest
from app.workflows.language.checks.scope import Scope
from app.workflows.language.checks.types import types_of, values_of
from app.workflows.language.models import Step

_NAMES = {True: "true", False: "false", None: "null"}


def check_switch(step: Step, path: Path, tree: Node | None, scope: Scope, found: Findings) -> None:
    """``tree`` is the expression, when nothing is wrong with it."""
    if not step.cases:
        found.add((*path, "switch"), "a switch has `cases`", "add one for each value")
        return
    values = values_of(tree, scope) if tree is not None else None
    if tree is not None and types_of(tree, scope) & {"array", "object"}:
        found.add((*path, "switch"), "a switch is over a text, a number, or true and false, not a list or an object")
        return
    if values is None:
        if step.else_ is None and tree is not None:
            message = "it is not known which values can come, so none of the cases may fit"
            found.add((*path, "switch"), message, "add `else`, or an `enum` to the contract of the value")
        return
    names = [_name(value) for value in values]
    _compare(step, path, names, found)


def _compare(step: Step, path: Path, names: list[str], found: Findings) -> None:
    cases = step.cases or {}
    for case in cases:
        if case not in names:
            found.add((*path, "cases", case), f"the value is never `{case}`", nearest(case, names))
    missing = [name for name in names if name not in cases]
    if missing and step.else_ is None:
        told = ", ".join(missing[:10])
        found.add((*path, "cases"), f"there is no case for {told}", "add it, or `else`")
    if not missing and step.else_ is not None:
        found.add((*path, "else"), "every value has a case: this is never reached", "remove it")


def _name(value: object) -> str:
    return _NAMES[value] if value is None or isinstance(value, bool) else str(value)
