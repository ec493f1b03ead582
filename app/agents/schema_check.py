"""JSON data against a JSON Schema. One from a stranger must not cost more than a moment, nor fetch anything."""

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, cast

from jsonschema import Draft202012Validator
from jsonschema.exceptions import SchemaError, ValidationError
from jsonschema.validators import extend, validator_for
from referencing import Registry
from referencing.exceptions import Unresolvable

LARGEST_SCHEMA = 64 * 1024
# What a stranger's schema may cost with the data, in things looked at: some tenths of a second.
MOST_STEPS = 100_000
MOST_PROBLEMS = 5
# A pattern can take for ever, and so can telling thousands of objects apart. Whoever wrote them looks at them anyway.
_IGNORED = ("pattern", "uniqueItems")
# The first is a pattern that cannot be ignored; the second has parts checked without these precautions.
_REFUSED = ("patternProperties", "$schema")
_FIELD = re.compile(r"\w{1,64}")


class SchemaUnusable(ValueError):
    """The schema is not one, or this check does not stand up to it."""


class SchemaMisfit(ValueError):
    """The data does not fit; the message names what does not, and never a value."""


class SchemaCheck:
    """Checks by one schema. Messages call it ``name``."""

    def __init__(
        self, name: str, schema: Mapping[str, Any], *, trusted: bool = False, most_steps: int = MOST_STEPS
    ) -> None:
        """Raises `SchemaUnusable`. ``most_steps`` is what a check of data may cost."""
        self._name = name
        self._most_steps = most_steps
        self._steps = _Steps(name, most_steps)
        kind = validator_for(schema, default=Draft202012Validator)
        # A schema that names its dialect is checked by that dialect's own validator, wherever it is reached again.
        schema = {keyword: value for keyword, value in schema.items() if keyword != "$schema"}
        if not trusted:
            _check_text(name, schema)
        try:
            kind.check_schema(schema)
        except (SchemaError, RecursionError) as error:
            raise SchemaUnusable(f"{name} is not a JSON Schema") from error
        if not trusted:
            kind = _bounded(kind, self._steps)
        self._validator = kind(schema, registry=Registry())

    def check(self, data: Any, *, root: str = "the data") -> None:
        """Raises `SchemaMisfit` or `SchemaUnusable`; ``root`` is what messages call the whole."""
        if problems := self.misfits(data, root=root):
            raise SchemaMisfit(told(problems))

    def misfits(self, data: Any, *, root: str = "the data") -> list[str]:
        """What does not fit, each as place and rule. Raises `SchemaUnusable`."""
        self._steps.left = self._most_steps
        try:
            return list(dict.fromkeys(_told(one, root) for one in self._validator.iter_errors(data)))
        except (Unresolvable, RecursionError) as error:
            raise SchemaUnusable(f"{self._name} refers to what is not in it") from error
        except OverflowError:
            return [f"a number in {root} is too large"]


def told(problems: list[str]) -> str:
    """The first problems in a line."""
    more = f" and {len(problems) - MOST_PROBLEMS} more" if len(problems) > MOST_PROBLEMS else ""
    return f"{', '.join(problems[:MOST_PROBLEMS])}{more}"


def path_of(location: Iterable[str | int], root: str) -> str:
    # A field that is not one of the schema's was made up by whoever wrote the data.
    parts = (str(part) if _FIELD.fullmatch(str(part)) else "…" for part in location)
    return ".".join(parts)[:200] or root


@dataclass(slots=True)
class _Steps:
    name: str
    left: int

    def take(self, *looked_at: Any) -> None:
        self.left -= 1 + sum(len(value) for value in looked_at if isinstance(value, list | dict))
        if self.left < 0:
            raise SchemaUnusable(f"{self.name} takes too long to check")


def _bounded(kind: Any, steps: _Steps) -> Any:
    """The same validator, but every keyword it looks at is counted: references and lists multiply the work."""
    counted = {keyword: _counted(function, steps) for keyword, function in kind.VALIDATORS.items()}
    return extend(kind, {**counted, **dict.fromkeys(_IGNORED, _anything)})  # type: ignore[no-untyped-call]


def _counted(function: Callable[..., Any], steps: _Steps) -> Callable[..., Any]:
    def count(validator: Any, value: Any, instance: Any, schema: Any) -> Any:
        steps.take(value, instance)
        return function(validator, value, instance, schema)

    return count


def _check_text(name: str, schema: Mapping[str, Any]) -> None:
    try:
        text = json.dumps(schema)
    except (TypeError, ValueError, RecursionError) as error:
        raise SchemaUnusable(f"{name} is not plain JSON") from error
    if len(text) > LARGEST_SCHEMA:
        raise SchemaUnusable(f"{name} has more than {LARGEST_SCHEMA} bytes")
    for keyword in _REFUSED:
        if f'"{keyword}"' in text:
            raise SchemaUnusable(f"{name} uses `{keyword}`, which is not taken from outside")


def _anything(*_: Any) -> Iterator[ValidationError]:
    return iter(())


def _told(problem: ValidationError, root: str) -> str:
    if problem.validator == "required":
        required, instance = cast("list[str]", problem.validator_value), cast("dict[str, Any]", problem.instance)
        missing = [field for field in required if field not in instance]
        where = problem.absolute_path
        return ", ".join(f"{path_of((*where, field), root)} (missing)" for field in missing[:MOST_PROBLEMS])
    return f"{path_of(problem.absolute_path, root)} ({problem.validator})"
