"""Arguments of a tool against what it says it takes."""

import json
from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel
from pydantic import ValidationError as ModelError

from app.agents.schema_check import SchemaCheck, SchemaMisfit, SchemaUnusable, path_of, told
from app.agents.tools.errors import ToolArgumentsInvalid, ToolNotUsable

LARGEST_ARGUMENTS = 64 * 1024
ROOT = "the arguments"


def plain(name: str, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """A copy that nobody else holds. Raises `ToolArgumentsInvalid` for what is not JSON, or too much of it."""
    try:
        text = json.dumps(dict(arguments), allow_nan=False)
    except (TypeError, ValueError, RecursionError) as error:
        raise ToolArgumentsInvalid(f"{name}: the arguments must be plain JSON data") from error
    if len(text) > LARGEST_ARGUMENTS:
        raise ToolArgumentsInvalid(f"{name}: the arguments have more than {LARGEST_ARGUMENTS} bytes as JSON")
    copied: dict[str, Any] = json.loads(text)
    return copied


def modelled(name: str, arguments: Mapping[str, Any], model: type[BaseModel]) -> BaseModel:
    try:
        return model.model_validate(arguments)
    except ModelError as error:
        problems = [
            f"{path_of(problem['loc'], ROOT)} ({problem['type']})" for problem in error.errors(include_input=False)
        ]
        raise _misfit(name, told(problems)) from None


class ArgumentsCheck:
    """Checks by a tool's JSON Schema; one that is not trusted is bounded in what it may cost."""

    def __init__(self, name: str, schema: Mapping[str, Any], *, trusted: bool) -> None:
        """Raises `ToolNotUsable` for a schema that is not one, or that this check does not stand up to."""
        self._name = name
        try:
            self._schema = SchemaCheck("its input schema", schema, trusted=trusted)
        except SchemaUnusable as error:
            raise ToolNotUsable(f"{name}: {error}") from error

    def check(self, arguments: Mapping[str, Any]) -> None:
        """Raises `ToolArgumentsInvalid`, which names what does not fit and never a value."""
        try:
            self._schema.check(arguments, root=ROOT)
        except SchemaMisfit as error:
            raise _misfit(self._name, str(error)) from error
        except SchemaUnusable as error:
            raise ToolNotUsable(f"{self._name}: {error}") from error


def _misfit(name: str, problems: str) -> ToolArgumentsInvalid:
    return ToolArgumentsInvalid(f"{name}: these arguments do not fit: {problems}")
