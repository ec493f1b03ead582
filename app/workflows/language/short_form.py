"""The short form: steps as a list, values through one shared context. Translated to the strict form.

The context starts as the run's inputs, and each step that succeeds writes to it what its `output_mapping` says. What a
step reads was written by steps that it depends on; the last of these counts.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Any

from pydantic import Field, ValidationError

from app.contracts import Identifier
from app.durations import LONGEST_DURATION, duration_text
from app.expressions.lexis import LONGEST_EXPRESSION
from app.field_problems import field_problems, suggestion
from app.source_problems import Positions, Problem
from app.source_tree import Path
from app.workflows.language.models import LONGEST_TEXT, Strict
from app.workflows.language.problems import WorkflowInvalid
from app.workflows.language.short_condition import LONGEST, ConditionInvalid, condition_to_cel
from app.workflows.language.short_context import Circular, Context, Unordered, Writer, is_word

MOST_STEPS = 500
_KEYS = {
    "agent_type": "agent",
    "input_mapping": "with",
    "depends_on": "needs",
    "condition": "if",
    "retry_count": "retry",
}


class ShortStep(Strict):
    """An agent's work."""

    name: str = Field(min_length=1, max_length=100)
    description: str = Field("", max_length=LONGEST_TEXT)
    agent_type: str = Field(min_length=1, max_length=64)
    input_mapping: dict[str, Any] = Field(default_factory=dict, description="Context key, or a literal, by parameter.")
    output_mapping: dict[str, Identifier] = Field(default_factory=dict, description="Context key by key of the result.")
    depends_on: list[str] = Field(default_factory=list, max_length=MOST_STEPS)
    condition: str | None = Field(None, min_length=1, max_length=LONGEST)
    timeout: float | None = Field(None, gt=0, le=LONGEST_DURATION.total_seconds(), description="Seconds.")
    retry_count: int = Field(0, ge=0, le=99)


class ShortWorkflow(Strict):
    """A whole document."""

    name: str = Field(pattern=r"[A-Za-z]", max_length=100)
    description: str = Field("", max_length=LONGEST_TEXT)
    steps: list[ShortStep] = Field(min_length=1, max_length=MOST_STEPS)


def is_short(document: Mapping[str, Any]) -> bool:
    return isinstance(document.get("steps"), list)


def translated(document: dict[str, Any], positions: Positions, *, source: str) -> tuple[dict[str, Any], Positions]:
    """The strict form, and where its parts were written. Raises `WorkflowInvalid`."""
    try:
        short = ShortWorkflow.model_validate(document)
    except ValidationError as error:
        problems = field_problems(error, ShortWorkflow, document, positions)
        raise WorkflowInvalid(problems, source=source) from error
    translation = _Translation(short, positions)
    strict = translation.document()
    if translation.problems:
        raise WorkflowInvalid(translation.problems, source=source)
    return strict, Positions(_moved(positions.places, list(strict["steps"])))


class _Translation:
    def __init__(self, short: ShortWorkflow, positions: Positions) -> None:
        self._short = short
        self._positions = positions
        self.problems: list[Problem] = []
        self._ids = self._unique_ids()
        self._context = self._context_of()

    def document(self) -> dict[str, Any]:
        steps = {self._ids[place]: self._step(place, step) for place, step in enumerate(self._short.steps)}
        outputs = {key: _expression(self._context.value(key, "null")) for key in self._context.keys}
        document = {
            "version": 1,
            "name": _name(self._short.name),
            "description": self._short.description,
            "inputs": {word: {"type": "any", "optional": True} for word in self._context.inputs},
            "additional_inputs": True,
            "steps": steps,
            "outputs": outputs,
        }
        return {key: value for key, value in document.items() if value}

    def _unique_ids(self) -> list[str]:
        ids: dict[str, int] = {}
        for place, step in enumerate(self._short.steps):
            name = _id(step.name)
            if name in ids:
                fix = f"steps[{ids[name]}] is called {self._short.steps[ids[name]].name!r}"
                self._tell((place, "name"), "two steps have the same name", fix)
            ids.setdefault(name, place)
        return [_id(step.name) for step in self._short.steps]

    def _context_of(self) -> Context:
        writers = [
            Writer(
                self._ids[place],
                self._needs(place, step),
                step.condition is not None,
                {key: result for result, key in step.output_mapping.items()},
            )
            for place, step in enumerate(self._short.steps)
        ]
        try:
            return Context(writers)
        except Circular as error:
            names = " → ".join(self._short.steps[place].name for place in error.places)
            self._tell((error.places[0], "depends_on"), f"these steps wait for each other: {names}", None)
            return Context([replace(writer, needs=()) for writer in writers])

    def _needs(self, place: int, step: ShortStep) -> tuple[int, ...]:
        names = {one.name: number for number, one in enumerate(self._short.steps)}
        for number, need in enumerate(step.depends_on):
            if need not in names:
                others = [name for name in names if name != step.name]
                self._tell((place, "depends_on", number), f"there is no step {need[:80]!r}", suggestion(need, others))
        return tuple(dict.fromkeys(names[need] for need in step.depends_on if need in names))

    def _step(self, place: int, step: ShortStep) -> dict[str, Any]:
        condition = self._condition(place, step.condition)
        given = {
            "description": step.description or (step.name if step.name != self._ids[place] else ""),
            "needs": [_id(need) for need in dict.fromkeys(step.depends_on)],
            "if": condition,
            "agent": step.agent_type,
            "with": {name: self._value(place, name, value) for name, value in step.input_mapping.items()},
            "timeout": duration_text(timedelta(seconds=step.timeout)) if step.timeout is not None else None,
            "retry": {"max_attempts": step.retry_count + 1} if step.retry_count else None,
        }
        return {key: value for key, value in given.items() if value}

    def _value(self, place: int, name: str, value: Any) -> Any:
        if not isinstance(value, str) or not is_word(value):
            return _literal(value)
        return _expression(self._word(place, ("input_mapping", name), value, json.dumps(value)))

    def _condition(self, place: int, condition: str | None) -> str | None:
        if condition is None:
            return None
        try:
            cel = condition_to_cel(condition, lambda key, otherwise: self._word(place, ("condition",), key, otherwise))
        except ConditionInvalid as error:
            self._tell((place, "condition"), f"the condition cannot be read: {error}", None)
            return None
        if len(cel) > LONGEST_EXPRESSION:
            self._tell((place, "condition"), "the condition is too long as an expression", "write the strict form")
        return cel

    def _word(self, place: int, part: Path, key: str, otherwise: str) -> str:
        try:
            return self._context.value(key, otherwise, reader=place)
        except Unordered as error:
            message = f"{key!r} is written by step {error.writer!r}, which may end before or after this one begins"
            self._tell((place, *part), message, f"add {error.writer!r} to depends_on")
            return otherwise

    def _tell(self, place: Path, message: str, fix: str | None) -> None:
        self.problems.append(self._positions.problem(("steps", *place), message, fix))


def _expression(cel: str) -> str:
    return f"${{{{ {cel} }}}}"


def _literal(value: Any) -> Any:
    """The same, with nothing in it that the strict form would evaluate."""
    match value:
        case str():
            return value.replace("${{", "$${{")
        case list():
            return [_literal(item) for item in value]
        case dict():
            return {key: _literal(item) for key, item in value.items()}
        case _:
            return value


def _name(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9_.-]+", "-", name).lstrip("_.-0123456789").rstrip("-")


def _id(name: str) -> str:
    found = re.sub(r"[^A-Za-z0-9_]+", "_", name).strip("_")[:60] or "step"
    return f"_{found}" if found[0].isdigit() or not is_word(found) else found


def _moved(places: Mapping[Path, tuple[int, int]], ids: list[str]) -> dict[Path, tuple[int, int]]:
    """Places of the list's steps as those of the mapping's."""
    moved = {path: place for path, place in places.items() if path[:1] != ("steps",)}
    moved[("steps",)] = places.get(("steps",), (1, 1))
    for path, place in places.items():
        if path[:1] == ("steps",) and len(path) > 1 and isinstance(path[1], int):
            rest = (_KEYS.get(str(path[2]), str(path[2])), *path[3:]) if len(path) > 2 else ()
            moved[("steps", ids[path[1]], *rest)] = place
    return moved
