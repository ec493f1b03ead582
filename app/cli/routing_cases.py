"""Files of labelled tasks, in YAML: a list of `{task, agent, input, tags}`, of which the last two may be left out."""

from collections.abc import Collection, Iterable, Iterator
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, JsonValue, StringConstraints, ValidationError

from app.agents.accuracy import RoutingCase
from app.agents.routing import UNKNOWN
from app.errors import Invalid
from app.source_tree import Limits, SourceInvalid
from app.yaml_source import read_yaml, text_of

LIMITS = Limits(size=5 * 1024 * 1024, depth=20)
LONGEST_TASK = 32 * 1024


class _Case(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, hide_input_in_errors=True)

    task: Annotated[str, StringConstraints(pattern=r"\S", max_length=LONGEST_TASK)]
    agent: str
    input: dict[str, JsonValue] = Field(default_factory=dict)
    tags: list[str] = Field(default_factory=list)


def read_cases(paths: Iterable[Path], names: Collection[str]) -> list[RoutingCase]:
    """All cases in order; ``names`` are the agents there are. Raises `Invalid` that names the file and the line."""
    cases = [case for path in paths for case in _cases_in(path, {*names, UNKNOWN})]
    if not cases:
        raise Invalid("there is no case: write a list of `- {task: …, agent: …}`")
    return cases


def _cases_in(path: Path, names: Collection[str]) -> Iterator[RoutingCase]:
    for line, value in _items(path):
        place = f"{path}:{line}"
        case = _checked(value, place)
        if case.agent not in names:
            raise Invalid(f"{place}: no agent {case.agent!r} can be routed to; there are {', '.join(sorted(names))}")
        yield RoutingCase(case.task, case.agent, case.input, tuple(case.tags), place)


def _items(path: Path) -> list[tuple[int, Any]]:
    """The members of the list with the lines that they begin on."""
    try:
        tree = read_yaml(text_of(_data_of(path), LIMITS), LIMITS)
    except SourceInvalid as error:
        first = error.faults[0]
        raise Invalid(f"{path}:{first.line}: {first.told}") from error
    if tree.value is None:
        return []
    if not isinstance(tree.value, list):
        raise Invalid(f"{path}:{tree.places[()][0]}: write a list of `- {{task: …, agent: …}}`")
    return [(tree.places[(place,)][0], value) for place, value in enumerate(tree.value)]


def _data_of(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(LIMITS.size + 1)
    except OSError as error:
        raise Invalid(f"{path}: {error.strerror}") from error


def _checked(value: Any, place: str) -> _Case:
    try:
        return _Case.model_validate(value)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False, include_context=False)[0]
        where = ".".join(map(str, first["loc"]))
        raise Invalid(f"{place}: {where + ': ' if where else ''}{first['msg']}") from error
