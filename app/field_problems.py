"""What Pydantic says of a document, in the words of the language: where, what, and what was probably meant."""

import difflib
import re
from collections.abc import Iterator
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from app.model_keys import keys_at
from app.source_problems import MOST_PROBLEMS, Positions, Problem
from app.source_tree import Path

MOST_NAMED = 30
# What Pydantic adds to the place of a key that does not fit.
_KEY = "[key]"
_KINDS = {
    "string_type": "a text",
    "int_type": "a whole number",
    "float_type": "a number",
    "bool_type": "true or false",
    "list_type": "a list",
    "dict_type": "a mapping",
    "model_type": "a mapping",
    "model_attributes_type": "a mapping",
}


def field_problems(
    error: ValidationError, model: type[BaseModel], document: Any, positions: Positions
) -> list[Problem]:
    paths = ((one, _path(one, document)) for one in _details(error))
    return [positions.problem(path, *_told(one, path, model)) for one, path in paths]


def located(error: ValidationError, document: Any) -> list[tuple[Path, str]]:
    """The part that each error is about, and the kind that Pydantic gives it."""
    return [(_path(one, document), one["type"]) for one in _details(error)]


def meant_key(model: type[BaseModel], path: Path) -> str | None:
    """The key of the language that an unknown one was probably meant to be."""
    return nearest(str(path[-1]), keys_at(model, path[:-1]))


def _details(error: ValidationError) -> list[ErrorDetails]:
    return error.errors(include_url=False)[:MOST_PROBLEMS]


def nearest(name: str, names: list[str]) -> str | None:
    """The one that was probably meant."""
    return next(iter(difflib.get_close_matches(name, names, n=1, cutoff=0.6)), None)


def suggestion(name: str, names: list[str]) -> str | None:
    """`did you mean …`, or which there are."""
    if found := nearest(name, names):
        return f"did you mean {found!r}?"
    return f"there are {', '.join(sorted(names)[:MOST_NAMED])}" if names else None


def _path(one: ErrorDetails, document: Any) -> Path:
    return tuple(_walked(one["loc"], document))


def _walked(location: tuple[int | str, ...], document: Any) -> Iterator[int | str]:
    """Without what unions add; the last step may be missing in the document."""
    value = document
    for place, step in enumerate(location):
        is_last = place == len(location) - 1
        if isinstance(value, dict) and step in value:
            value = value[str(step)]
        elif isinstance(value, list) and isinstance(step, int) and step < len(value):
            value = value[step]
        elif step == _KEY or not is_last or not isinstance(value, dict):
            continue
        yield step


def _told(one: ErrorDetails, path: Path, model: type[BaseModel]) -> tuple[str, str | None]:
    match one["type"]:
        case "extra_forbidden":
            key = str(path[-1])
            return f"there is no key {key[:80]!r} here", suggestion(key, keys_at(model, path[:-1]))
        case "missing":
            return f"the key {path[-1]!r} is missing", "add it"
        case "literal_error" | "enum":
            return _of_choice(one)
        case "string_pattern_mismatch":
            return _of_name(one, path)
        case "value_error":
            return str(one["ctx"]["error"]), None
        case kind if kind in _KINDS:
            return _of_kind(one, _KINDS[kind])
        case _:
            return one["msg"].replace("Input should be", "it must be").replace("Input should", "it must"), None


def _of_choice(one: ErrorDetails) -> tuple[str, str | None]:
    expected = one["ctx"]["expected"]
    names = [name.strip("'") for name in expected.replace(" or ", ", ").split(", ")]
    found = nearest(one["input"], names) if isinstance(one["input"], str) else None
    return f"it must be {expected}", f"did you mean {found!r}?" if found else None


def _of_name(one: ErrorDetails, path: Path) -> tuple[str, str | None]:
    allowed = _ALLOWED.get(one["ctx"]["pattern"])
    name = str(path[-1]) if one["loc"][-1] == _KEY else one["input"]
    other = re.sub(r"\W", "_", name[:64], flags=re.ASCII)
    if re.fullmatch(one["ctx"]["pattern"], other):
        return f"a name here has {allowed}", f"for instance {other!r}"
    return "this cannot be a name here", allowed


def _of_kind(one: ErrorDetails, kind: str) -> tuple[str, str | None]:
    given = one["input"]
    if kind == "a text" and isinstance(given, bool | int | float):
        return f"it must be {kind}", "put it in quotes"
    if kind == "a list" and isinstance(given, str):
        return f"it must be {kind}", "write it in brackets, as in [one, two]"
    return f"it must be {kind}", "leave it out when it is empty" if given is None else None


_ALLOWED = {
    r"^[A-Za-z_][A-Za-z0-9_]{0,63}$": "up to 64 letters, digits and underscores, and no digit first",
    r"^[A-Za-z][A-Za-z0-9_.-]{0,99}$": "up to 100 letters, digits, underscores, points and hyphens, a letter first",
    r"^[A-Za-z][A-Za-z0-9_.:-]{0,127}$": "up to 128 letters, digits, '_', '.', ':' and '-', a letter first",
    r"^[A-Z][A-Z0-9_]{0,63}$": "up to 64 capital letters, digits and underscores, a letter first",
}
