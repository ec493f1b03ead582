"""A document without what is wrong with its fields, so that what its parts mean can be checked all the same."""

import copy
from collections.abc import Iterable
from typing import Any

from pydantic import ValidationError

from app.field_problems import located, meant_key
from app.source_tree import Path
from app.workflows.language.models import KINDS, Workflow

MOST_ROUNDS = 4
_BODIES = ("steps", "finally")
# Without these, what is said of other parts would be wrong.
_STRUCTURE = frozenset({"needs", "inputs", "vars", "cases", "else", "output", "steps", "finally", "for_each", "as"})
_STANDINS = {("version",): 1, ("name",): "unnamed"}


class Unrepairable(ValueError):
    """Too much is wrong."""


def repaired(document: dict[str, Any], error: ValidationError) -> Workflow:
    """Misspelled keys are taken for those that were probably meant; other parts that do not fit are left out.

    Raises `Unrepairable` when others would be blamed for what is left out.
    """
    document = copy.deepcopy(document)
    for _ in range(MOST_ROUNDS):
        for path, kind in located(error, document):
            _mend(document, path, kind)
        try:
            return Workflow.model_validate(document, by_alias=True, by_name=False)
        except ValidationError as another:
            error = another
    raise Unrepairable


def owner_of(path: Path) -> Path:
    """The innermost step that the part belongs to, else the part of the document."""
    owner, place = path[:1], 0
    while len(path) > place + 1 and path[place] in _BODIES:
        place += 2
        owner = path[:place]
        if path[place : place + 1] == ("cases",):
            place += 2
        elif path[place : place + 1] == ("else",):
            place += 1
    return owner


def _mend(document: dict[str, Any], path: Path, kind: str) -> None:
    if path in _STANDINS:
        document[str(path[0])] = _STANDINS[path]
    elif kind == "extra_forbidden":
        _rename_or_drop(document, path)
    elif path[:1] == ("inputs",) and len(path) > 1:
        document["inputs"][path[1]] = {"type": "any"}
    elif owner_of(path) == path and len(path) > 1:
        _stand_in(_find(document, path))
    else:
        _drop(document, path[:-1] if kind == "missing" else path)


def _rename_or_drop(document: dict[str, Any], path: Path) -> None:
    holder, key = _find(document, path[:-1]), str(path[-1])
    if not isinstance(holder, dict) or key not in holder:
        return
    value = holder.pop(key)
    meant = meant_key(Workflow, path)
    if meant is not None and meant not in holder:
        holder[meant] = value


def _stand_in(step: Any) -> None:
    """Gives the step a kind whose output may be anything."""
    if not isinstance(step, dict):
        raise Unrepairable
    for kind in (*KINDS, "cases", "else"):
        step.pop(kind, None)
    step["task"] = "unknown"


def _drop(document: dict[str, Any], path: Path) -> None:
    while path and isinstance(path[-1], int):
        path = path[:-1]
    # Of a step, what is within it; else all of the path.
    within = path[len(owner_of(path)) :] if len(owner_of(path)) > 1 else path
    if not within or _STRUCTURE.intersection(within):
        raise Unrepairable
    holder = _find(document, path[:-1])
    if isinstance(holder, dict):
        holder.pop(path[-1], None)


def _find(document: Any, path: Iterable[str | int]) -> Any:
    """None for a part that was left out before, with what it was in."""
    for step in path:
        if isinstance(document, dict):
            document = document.get(step)
        elif isinstance(document, list) and isinstance(step, int) and step < len(document):
            document = document[step]
        else:
            return None
    return document
