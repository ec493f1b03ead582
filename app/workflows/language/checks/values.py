"""Expressions and templates at their places: what they refer to, whether they compile, and which types they give."""

from collections.abc import Mapping
from typing import Any

from app.expressions.compiling import ExpressionInvalid
from app.expressions.references import Reference, references_of, shown
from app.expressions.tree import Constant, Node
from app.workflows.language.checks.findings import Findings, Path, nearest
from app.workflows.language.checks.scope import Scope
from app.workflows.language.checks.types import check_comparisons, types_of
from app.workflows.language.compiling import check_expression, parse
from app.workflows.language.templates import TemplateInvalid, parse_template, templates_in

_USUAL = ("inputs", "steps", "vars", "run")
_STEP_MEMBERS = ("output", "status", "error", "attempts")
_NAMED = {"inputs": "input", "vars": "variable"}
_NEVER = {
    "env": ("the environment is not seen by expressions", "declare an input, or `env:` of a command step"),
    "secrets": ("secrets are not seen by expressions", "name them in `secrets:` of the command step"),
    "item": ("`item` is there in steps with for_each only", None),
    "loop": ("`loop` is there in the steps of a loop only", None),
}


class Values:
    """Checks the expressions of one document."""

    def __init__(self, found: Findings) -> None:
        self._found = found

    def template(self, value: Any, path: Path, scope: Scope) -> None:
        """A JSON value whose texts may hold `${{ }}`."""
        for place, text in templates_in(value, path):
            try:
                template = parse_template(text)
            except TemplateInvalid as error:
                self._found.add(place, error.message)
                continue
            for insert in template.inserts:
                self._checked(insert.expression, place, scope)

    def condition(self, source: str, path: Path, scope: Scope) -> None:
        """An expression that has to give true or false."""
        tree = self.expression(source, path, scope)
        if tree is None:
            return
        types = types_of(tree, scope)
        if types and "boolean" not in types:
            self._found.add(path, f"it gives {_listed(types)}, and has to give true or false", "compare it")
        if isinstance(tree, Constant) and tree.value is False:
            name = "the step never runs" if path[-1] == "if" else "the loop is never done"
            self._found.add(path, f"it is always false: {name}", "write a condition that can be true")

    def items(self, source: str, path: Path, scope: Scope) -> Node | None:
        """What `for_each` goes over: one expression that gives a list."""
        try:
            whole = parse_template(source).whole
        except TemplateInvalid as error:
            self._found.add(path, error.message)
            return None
        if whole is None:
            self._found.add(path, "for_each is one expression that gives a list", 'write "${{ … }}"')
            return None
        tree = self._checked(whole.expression, path, scope)
        types = types_of(tree, scope) if tree else frozenset()
        if types and "array" not in types:
            self._found.add(path, f"for_each goes over {_listed(types)}, and needs a list")
        return tree

    def expression(self, source: str, path: Path, scope: Scope) -> Node | None:
        """One that stands without `${{ }}`."""
        if "${{" in source:
            self._found.add(path, "this is an expression already", "write it without `${{` and `}}`")
            return None
        return self._checked(source, path, scope)

    def _checked(self, source: str, path: Path, scope: Scope) -> Node | None:
        """The tree of an expression with which nothing is wrong."""
        if self._found.is_full:
            return None
        try:
            problems = [problem for one in references_of(parse(source)) if (problem := problem_of(one, scope))]
            for message, fix in problems:
                self._found.add(path, message, fix)
            if problems:
                return None
            tree = check_expression(source, frozenset(scope.extras) - {"loop"}).tree
        except ExpressionInvalid as error:
            self._found.add(path, f"`{source[:80]}`: {error.message}")
            return None
        for message, fix in check_comparisons(tree, scope):
            self._found.add(path, message, fix)
        return tree


Told = tuple[str, str | None]


def problem_of(reference: Reference, scope: Scope) -> Told | None:
    """What is wrong with a reference at a place, and the fix."""
    root = str(reference.path[0])
    if root not in scope.roots():
        return _unknown_root(root, scope)
    if root == "steps":
        return _step_problem(reference, scope)
    return _member_problem(reference, 1, scope)


def _unknown_root(root: str, scope: Scope) -> Told:
    if root in _NEVER:
        return _NEVER[root]
    if root in scope.ended():
        return f"`{root}` is a step", f"write `steps.{root}.output`"
    inputs = scope.inputs.get("properties", {})
    if root in inputs:
        return f"`{root}` is an input", f"write `inputs.{root}`"
    return f"`{root}` is not known here", nearest(root, (*_USUAL, *scope.extras))


def _step_problem(reference: Reference, scope: Scope) -> Told | None:
    if len(reference.path) < 2 or not isinstance(reference.path[1], str):
        return "`steps` is no value by itself", "name the step, as in `steps.review.output`"
    name = reference.path[1]
    if scope.step(name) is None:
        return _unknown_step(name, scope)
    if len(reference.path) > 2 and reference.path[2] not in _STEP_MEMBERS:
        member = str(reference.path[2])
        fix = nearest(member, _STEP_MEMBERS)
        if scope.schema_of(("steps", name, "output", member)):
            fix = f"write `steps.{name}.output.{member}`"
        return f"a step has no `{member}`", fix
    return _member_problem(reference, 2, scope)


def _unknown_step(name: str, scope: Scope) -> Told:
    for level in scope.levels:
        if name in level.body:
            return f"step `{name}` need not have ended here", f"add `{name}` to `needs`, or remove the reference"
    return f"there is no step `{name}` here", nearest(name, scope.ended())


def _member_problem(reference: Reference, start: int, scope: Scope) -> Told | None:
    """The first part of the path that cannot be there."""
    for length in range(start + 1, len(reference.path) + 1):
        if scope.schema_of(reference.path[:length]) is None:
            before, part = reference.path[: length - 1], reference.path[length - 1]
            return _missing(before, part, scope)
    return None


def _missing(before: Path, part: str | int, scope: Scope) -> Told:
    schema = scope.schema_of(before) or {}
    if before == ("run",) and part in ("succeeded", "error"):
        return f"`run.{part}` is known in `finally` only", "move the step there"
    if isinstance(part, int):
        return f"`{shown(before)}` is not a list", None
    if schema.get("type") == "array":
        return f"`{shown(before)}` is a list and has no `{part}`", f"take an item, as in `{shown(before)}[0].{part}`"
    names = _members(schema)
    what = _NAMED.get(shown(before), f"member of `{shown(before)}`")
    return f"there is no {what} `{part}`", nearest(str(part), names) or _declare(before)


def _declare(before: Path) -> str | None:
    is_output = len(before) >= 3 and before[0] == "steps" and before[2] == "output"
    return f"add it to the `output` contract of `{before[1]}`" if is_output else None


def _members(schema: Mapping[str, Any]) -> list[str]:
    variants = schema.get("anyOf") or schema.get("oneOf") or [schema]
    return [name for variant in variants for name in variant.get("properties", {})]


def _listed(types: frozenset[str]) -> str:
    return " or ".join(sorted(types))
