"""Scenarios as YAML: the built-in ones, and those of users, whose mistakes are told with their line."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from app.errors import Invalid
from app.llm.simulator.scenario import Scenario
from app.source_tree import Limits, SourceInvalid, SourceTree
from app.yaml_source import read_yaml, text_of

FOLDER = Path(__file__).parent / "scenarios"
CALM = "calm"
LIMITS = Limits(size=64 * 1024, depth=20)
MOST_PROBLEMS = 5


class ScenarioInvalid(Invalid):
    """A scenario that cannot be read; the message names the lines or fields."""


def scenario_names() -> list[str]:
    return sorted(path.stem for path in FOLDER.glob("*.yaml"))


def built_in_scenarios() -> list[Scenario]:
    return [load_scenario(name) for name in scenario_names()]


def load_scenario(name_or_file: str) -> Scenario:
    """A built-in scenario by name, else the file. Raises `ScenarioInvalid`."""
    if name_or_file in scenario_names():
        return _read(FOLDER / f"{name_or_file}.yaml")
    path = Path(name_or_file)
    if not path.is_file():
        raise ScenarioInvalid(
            f"there is no scenario {name_or_file!r}: name a YAML file or one of {', '.join(scenario_names())}"
        )
    return _read(path)


def parse_scenario(text: str, *, source: str) -> Scenario:
    """Raises `ScenarioInvalid` with ``source``, line and field of what is wrong."""
    try:
        tree = read_yaml(text, LIMITS)
        return _validated(tree.value)
    except SourceInvalid as error:
        raise ScenarioInvalid(_joined(f"{source}:{fault.line}: {fault.told}" for fault in error.faults)) from error
    except ValidationError as error:
        problems = error.errors(include_url=False, include_input=False, include_context=False)
        raise ScenarioInvalid(_joined(_problem(one, source, tree) for one in problems[:MOST_PROBLEMS])) from error


def scenario_of(content: Any) -> Scenario:
    """From what JSON gave. Raises `ScenarioInvalid` with the fields."""
    try:
        return _validated(content)
    except ValidationError as error:
        problems = error.errors(include_url=False, include_input=False, include_context=False)
        raise ScenarioInvalid(_joined(_told(one) for one in problems[:MOST_PROBLEMS])) from error


def _validated(content: Any) -> Scenario:
    # As JSON, since strictness allows there what JSON cannot tell apart: lists for tuples, texts for choices.
    return Scenario.model_validate_json(json.dumps(content, default=str))


def _read(path: Path) -> Scenario:
    try:
        with path.open("rb") as file:
            data = file.read(LIMITS.size + 1)
        return parse_scenario(text_of(data, LIMITS), source=str(path))
    except SourceInvalid as error:
        raise ScenarioInvalid(f"{path}: {error.faults[0].told}") from error
    except OSError as error:
        raise ScenarioInvalid(f"{path} cannot be read as a scenario: {error}") from error


def _problem(one: ErrorDetails, source: str, tree: SourceTree) -> str:
    return f"{source}:{_line(tree, one['loc'])}: {_told(one)}"


def _line(tree: SourceTree, location: Iterable[int | str]) -> int:
    """The line of the deepest part that is there; what a union adds to the place is no part."""
    path: tuple[int | str, ...] = ()
    for step in location:
        if (*path, step) in tree.places:
            path = (*path, step)
    return tree.places.get(path, (1, 1))[0]


def _told(one: ErrorDetails) -> str:
    field = ".".join(map(str, one["loc"])) or "scenario"
    return f"{field}: {one['msg'].removeprefix('Value error, ')}"


def _joined(problems: Iterable[str]) -> str:
    return "; ".join(problems)
