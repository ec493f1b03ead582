"""What expressions at a place of a document may refer to, and what is known of it."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace

from app.contracts import ANYTHING, Schema, object_schema_of, schema_at
from app.workflows.language.checks.findings import Path
from app.workflows.language.checks.structure import Body, closures
from app.workflows.language.models import ExhaustedOutput, Fallback, Step, Workflow

Parts = Mapping[str, Workflow]

TEXT: Schema = {"type": "string"}
_WHOLE: Schema = {"type": "integer"}
ERROR: Schema = {
    "type": ["object", "null"],
    "properties": {"type": TEXT, "message": TEXT, "path": {"type": ["string", "null"]}},
}
# What steps give that have no contract; with one, `command` gives both.
_OUTPUTS: Mapping[str, Mapping[str, Schema]] = {
    "command": {"exit_code": _WHOLE, "stdout": TEXT, "stderr": TEXT},
    "approval": {"approved": {"type": "boolean"}, "by": ANYTHING, "comment": ANYTHING},
    "emit": {"event": TEXT, "data": ANYTHING},
    "evaluate": {
        "passed": {"type": "boolean"},
        **dict.fromkeys(("score", "threshold", "checks", "criteria", "rounds", "output"), ANYTHING),
    },
}


def object_of(members: Mapping[str, Schema]) -> Schema:
    return {"type": "object", "properties": dict(members)}


class Outputs:
    """What the outputs of steps look like, as far as the document says."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._known: dict[int, Schema] = {}

    def of(self, step: Step) -> Schema:
        if id(step) not in self._known:
            each = _with_fallback(step, self._each(step)) if step.for_each is None else self._list(step)
            self._known[id(step)] = each
        return self._known[id(step)]

    def of_body(self, body: Body) -> Schema:
        return object_of({name: self.of(step) for name, step in body.items()})

    def _list(self, step: Step) -> Schema:
        item = self._each(step)
        if step.on_item_error == "collect":
            item = object_of({"ok": {"type": "boolean"}, "output": item, "error": ERROR})
        return _with_fallback(step, {"type": "array", "items": item})

    def _each(self, step: Step) -> Schema:
        if step.output is not None:
            contract = object_schema_of(step.output)
            return _merged([contract, object_of(_OUTPUTS["command"])]) if step.kind == "command" else contract
        if step.steps is not None:
            return _exhausted(step, self.of_body(step.steps))
        if step.switch is not None:
            cases = [*(step.cases or {}).values(), *([step.else_] if step.else_ else [])]
            return _merged([self.of_body(case.steps) for case in cases])
        return self._simple(step)

    def _simple(self, step: Step) -> Schema:
        if step.transform is not None:
            return object_of(dict.fromkeys(step.transform, ANYTHING))
        if step.workflow is not None:
            part = self._parts.get(step.workflow)
            return ANYTHING if part is None else object_of(dict.fromkeys(part.outputs, ANYTHING))
        if step.wait is not None:
            names = ("event", "key", "data") if step.wait.event else ("waited_until",)
            return object_of(dict.fromkeys(names, ANYTHING))
        if step.approval is not None:
            return object_of({**_OUTPUTS["approval"], "form": object_schema_of(step.approval.form)})
        return object_of(_OUTPUTS[step.kind]) if step.kind in _OUTPUTS else ANYTHING


def _exhausted(step: Step, body: Schema) -> Schema:
    """A loop that was never done may give something else."""
    other = step.loop.on_exhausted if step.loop else None
    return _or_members(body, other.output) if isinstance(other, ExhaustedOutput) else body


def _with_fallback(step: Step, schema: Schema) -> Schema:
    if not isinstance(step.on_error, Fallback):
        return schema
    fallback = step.on_error.fallback
    return _or_members(schema, fallback) if isinstance(fallback, dict) else ANYTHING


def _or_members(schema: Schema, members: Mapping[str, object]) -> Schema:
    return {"anyOf": [schema, object_of(dict.fromkeys(members, ANYTHING))]} if schema else ANYTHING


def _merged(schemas: list[Schema]) -> Schema:
    return schemas[0] if len(schemas) == 1 else {"anyOf": schemas}


@dataclass(frozen=True, slots=True)
class Level:
    """A body around a place, and which of its steps have ended there, as bits; -1: all of them."""

    body: Body
    ended: int
    places: Mapping[str, int]

    def has_ended(self, name: str) -> bool:
        return self.ended < 0 or bool(self.ended >> self.places[name] & 1)


@dataclass(frozen=True, slots=True)
class Scope:
    """``levels`` are the bodies around, innermost first; ``extras`` are `item`, its other name and `loop`."""

    inputs: Schema
    variables: Schema
    outputs: Outputs
    levels: tuple[Level, ...] = ()
    extras: Mapping[str, Schema] = field(default_factory=dict)
    run: Mapping[str, Schema] = field(default_factory=dict)
    # Of the step itself, where it may be named: in its own artifacts.
    itself: str | None = None

    def inside(self, body: Body, ended: int = -1, places: Mapping[str, int] | None = None) -> "Scope":
        return replace(self, levels=(Level(body, ended, places or {}), *self.levels), itself=None)

    def with_extras(self, extras: Mapping[str, Schema]) -> "Scope":
        return replace(self, extras={**self.extras, **extras})

    def schema_of(self, path: Path) -> Schema | None:
        """None when it cannot be there, `ANYTHING` when nothing is known of it."""
        root = self.roots().get(str(path[0]))
        if root is None or path[0] != "steps" or len(path) < 2:
            return None if root is None else schema_at(root, path[1:])
        step = self.step(str(path[1]))
        return None if step is None else schema_at(self.seen(step), path[2:])

    def roots(self) -> dict[str, Schema]:
        run = object_of(self.run)
        return {"inputs": self.inputs, "steps": ANYTHING, "vars": self.variables, "run": run, **self.extras}

    def seen(self, step: Step) -> Schema:
        return object_of({"output": self.outputs.of(step), "status": TEXT, "error": ERROR, "attempts": _WHOLE})

    def step(self, name: str) -> Step | None:
        """One that has ended when this place is reached."""
        for level in self.levels:
            if name in level.body:
                return level.body[name] if level.has_ended(name) or name == self.itself else None
        return None

    def ended(self) -> Iterator[str]:
        """Steps that may be named."""
        for level in self.levels:
            yield from (name for name in level.body if level.has_ended(name))


def scope_of(workflow: Workflow, parts: Parts) -> Scope:
    """Outside of all steps."""
    inputs = object_schema_of(workflow.inputs, closed=not workflow.additional_inputs)
    if workflow.additional_inputs:
        inputs = {**inputs, "additionalProperties": True}
    run = {"id": TEXT, "trace_id": ANYTHING, "tenant": ANYTHING}
    return Scope(inputs, object_of(dict.fromkeys(workflow.vars, ANYTHING)), Outputs(parts), run=run)


def at_the_end(scope: Scope, workflow: Workflow) -> Scope:
    """In `finally`: everything has ended, one way or another."""
    run = {**scope.run, "succeeded": {"type": "boolean"}, "error": ERROR}
    return replace(scope.inside(workflow.steps), run=run)


def scopes_of(body: Body, outer: Scope) -> dict[str, Scope]:
    """Where each step of a body begins: what it needs has ended."""
    places = {name: place for place, name in enumerate(body)}
    return {name: outer.inside(body, ended, places) for name, ended in closures(body).items()}


def item_extras(step: Step, items: Schema | None) -> dict[str, Schema]:
    if step.for_each is None:
        return {}
    item = schema_at(items, (0,)) if items else ANYTHING
    found = ANYTHING if item is None else item
    return {"item": found, **({step.as_: found} if step.as_ else {})}


def loop_extras(scope: Scope, step: Step) -> dict[str, Schema]:
    if step.loop is None or step.steps is None:
        return {}
    # Members of null are null here, so that nobody has to ask for the first round.
    previous = scope.outputs.of_body(step.steps)
    return {"loop": object_of({"iteration": _WHOLE, "previous": previous})}
