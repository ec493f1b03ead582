"""What the parts of a document mean together. All problems are found, each once."""

from dataclasses import replace

from app.contracts import ANYTHING, Schema
from app.expressions.references import path_of
from app.source_problems import Positions, Problem
from app.workflows.language.checks.agents import check_agent, check_call
from app.workflows.language.checks.catalogue import Catalogue
from app.workflows.language.checks.findings import Findings, Path
from app.workflows.language.checks.kinds import check_budgets, check_retry, check_step
from app.workflows.language.checks.scope import (
    Parts,
    Scope,
    at_the_end,
    item_extras,
    loop_extras,
    scope_of,
    scopes_of,
)
from app.workflows.language.checks.structure import (
    Body,
    bodies_of,
    check_names,
    check_needs,
    is_within_limits,
    steps_in,
)
from app.workflows.language.checks.switches import check_switch
from app.workflows.language.checks.types import types_of
from app.workflows.language.checks.values import Values
from app.workflows.language.models import ExhaustedOutput, Fallback, Step, Workflow


def check_workflow(
    workflow: Workflow, positions: Positions, catalogue: Catalogue | None, parts: Parts
) -> list[Problem]:
    """``parts`` are the sub-workflows that could be read, by what steps call them. Without a catalogue agents are not
    looked at.
    """
    found = Findings(positions)
    if is_within_limits(workflow, found):
        _Check(workflow, catalogue, parts, found).run()
    return list(found.problems)


def needs_commands(workflow: Workflow) -> list[str]:
    """Steps that run programs, as messages name them: whoever runs the document has to allow it."""
    bodies = ((key, body) for key, body in workflow.bodies().items())
    found = (path for key, body in bodies for path, step in steps_in(body, (key,)) if step.command is not None)
    return [".".join(str(part) for part in path) for path in found]


class _Check:
    def __init__(self, workflow: Workflow, catalogue: Catalogue | None, parts: Parts, found: Findings) -> None:
        self._workflow = workflow
        self._catalogue = catalogue
        self._parts = parts
        self._found = found
        self._values = Values(found)

    def run(self) -> None:
        workflow, found = self._workflow, self._found
        scope = scope_of(workflow, self._parts)
        # Grows while the scope is used: each sees those before it.
        before: dict[str, Schema] = {}
        known = replace(scope, variables={"type": "object", "properties": before})
        for name, value in workflow.vars.items():
            self._values.template(value, ("vars", name), known)
            before[name] = ANYTHING
        if workflow.defaults.retry is not None:
            check_retry(workflow.defaults.retry, ("defaults", "retry"), found)
        check_budgets(workflow, found)
        self._body(workflow.steps, ("steps",), scope, frozenset())
        for name, value in workflow.outputs.items():
            self._values.template(value, ("outputs", name), scope.inside(workflow.steps))
        self._body(workflow.finally_, ("finally",), at_the_end(scope, workflow), frozenset(workflow.steps))

    def _body(self, body: Body, path: Path, outer: Scope, around: frozenset[str]) -> None:
        check_names(body, path, around, self._found)
        check_needs(body, path, self._found)
        for name, scope in scopes_of(body, outer).items():
            self._step(body[name], (*path, name), scope, around | frozenset(body))

    def _step(self, step: Step, path: Path, scope: Scope, around: frozenset[str]) -> None:
        check_step(step, path, scope.levels[0].body, self._found)
        if self._catalogue is not None and step.agent is not None:
            check_agent(step, path, self._catalogue, self._found)
        if (called := self._parts.get(step.workflow or "")) is not None:
            check_call(step, path, called, self._found)
        if step.if_ is not None:
            self._values.condition(step.if_, (*path, "if"), scope)
        if isinstance(step.on_error, Fallback):
            self._values.template(step.on_error.fallback, (*path, "on_error", "fallback"), scope)
        inner = scope.with_extras(item_extras(step, self._items(step, path, scope)))
        self._texts(step, path, inner)
        if step.switch is not None:
            tree = self._values.expression(step.switch, (*path, "switch"), inner)
            check_switch(step, path, tree, inner, self._found)
        self._bodies(step, path, inner, around)

    def _items(self, step: Step, path: Path, scope: Scope) -> Schema | None:
        if step.for_each is None:
            return None
        tree = self._values.items(step.for_each, (*path, "for_each"), scope)
        reference = path_of(tree) if tree is not None else None
        if reference is None or tree is None or "array" not in types_of(tree, scope):
            return None
        return scope.schema_of(reference.path)

    def _texts(self, step: Step, path: Path, scope: Scope) -> None:
        """Everything that is rendered when the step begins, and its artifacts, which see its output."""
        for name in ("with", "transform", "task", "command", "env", "idempotency_key"):
            value = step.with_ if name == "with" else getattr(step, name)
            self._values.template(value, (*path, name), scope)
        if step.approval is not None:
            self._values.template(step.approval.message, (*path, "approval", "message"), scope)
        if step.wait is not None:
            self._values.template(step.wait.until, (*path, "wait", "until"), scope)
            self._values.template(step.wait.key, (*path, "wait", "key"), scope)
        own = replace(scope, itself=str(path[-1]))
        self._values.template(step.artifacts, (*path, "artifacts"), own)

    def _bodies(self, step: Step, path: Path, scope: Scope, around: frozenset[str]) -> None:
        inner = scope.with_extras(loop_extras(scope, step))
        for place, body in bodies_of(step):
            self._body(body, (*path, *place), inner, around)
        if step.loop is None or step.steps is None:
            return
        done = inner.inside(step.steps)
        self._values.condition(step.loop.until, (*path, "loop", "until"), done)
        if isinstance(step.loop.on_exhausted, ExhaustedOutput):
            output = step.loop.on_exhausted.output
            self._values.template(output, (*path, "loop", "on_exhausted", "output"), done)
