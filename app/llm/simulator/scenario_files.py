"""Scenarios as YAML: the built-in ones, and those of users, whose mistakes are told with their line."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError
from pydantic_core import ErrorDetails

from app.errors import Invalid
from app.llm.simulator.scenario import Scenario

FOLDER = Path(__file__).parent / "scenarios"
CALM = "calm"
LARGEST = 64 * 1024
DEEPEST = 20
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
        _refuse_bombs(text, source)
        node = yaml.compose(text, Loader=yaml.SafeLoader)
        if node is not None:
            _refuse_duplicates(node, source)
        content = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ScenarioInvalid(_told_of_syntax(error, source)) from error
    try:
        return _validated(content)
    except ValidationError as error:
        problems = error.errors(include_url=False, include_input=False, include_context=False)
        raise ScenarioInvalid(_joined(_problem(one, source, node) for one in problems[:MOST_PROBLEMS])) from error


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
            text = file.read(LARGEST + 1)
        if len(text) > LARGEST:
            raise ScenarioInvalid(f"{path}: larger than {LARGEST} bytes")
        return parse_scenario(text.decode(), source=str(path))
    except (OSError, UnicodeDecodeError) as error:
        raise ScenarioInvalid(f"{path} cannot be read as a scenario: {error}") from error


def _refuse_bombs(text: str, source: str) -> None:
    """Before it is read: a few lines of aliases of aliases unfold to gigabytes, and deep nesting takes minutes."""
    depth = 0
    for event in yaml.parse(text, Loader=yaml.SafeLoader):
        if isinstance(event, yaml.AliasEvent):
            raise ScenarioInvalid(f"{source}: aliases are not allowed, write *{event.anchor} out")
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > DEEPEST:
            raise ScenarioInvalid(f"{source}: nested too deeply")


def _refuse_duplicates(node: yaml.Node, source: str) -> None:
    if isinstance(node, yaml.SequenceNode):
        for child in node.value:
            _refuse_duplicates(child, source)
    elif isinstance(node, yaml.MappingNode):
        seen: set[str] = set()
        for key, value in node.value:
            if str(key.value) in seen:
                raise ScenarioInvalid(f"{source}:{key.start_mark.line + 1}: {key.value} is there twice")
            seen.add(str(key.value))
            _refuse_duplicates(value, source)


def _told_of_syntax(error: yaml.YAMLError, source: str) -> str:
    if isinstance(error, yaml.MarkedYAMLError) and error.problem_mark is not None:
        return f"{source}:{error.problem_mark.line + 1}: not YAML: {error.problem}"
    return f"{source}: not YAML: it cannot be read"


def _problem(one: ErrorDetails, source: str, node: yaml.Node | None) -> str:
    return f"{source}:{_line(node, one['loc'])}: {_told(one)}"


def _line(node: yaml.Node | None, place: Iterable[int | str]) -> int:
    """The line of the deepest part that is there; what a union adds to the place is no part."""
    line = 1
    for step in place:
        found = _child(node, step)
        if found is not None:
            key, node = found
            line = key.start_mark.line + 1
    return line


def _child(node: yaml.Node | None, step: int | str) -> tuple[yaml.Node, yaml.Node] | None:
    """What tells the place of this part, and the part."""
    if isinstance(node, yaml.MappingNode):
        return next(((key, value) for key, value in node.value if key.value == step), None)
    if isinstance(node, yaml.SequenceNode) and isinstance(step, int):
        return node.value[step], node.value[step]
    return None


def _told(one: ErrorDetails) -> str:
    field = ".".join(map(str, one["loc"])) or "scenario"
    return f"{field}: {one['msg'].removeprefix('Value error, ')}"


def _joined(problems: Iterable[str]) -> str:
    return "; ".join(problems)
