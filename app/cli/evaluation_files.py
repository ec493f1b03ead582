"""Files of evaluations: what is wanted of an output, an output that was kept, and outputs that people have scored."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer
from pydantic import BaseModel, ConfigDict, Field, JsonValue, ValidationError

from app.cli.server import Json
from app.errors import Invalid
from app.governance.evaluation.agreement import LabelledOutput
from app.governance.evaluation.models import BEST, WORST, Subject, subject_of
from app.setting_evaluation import EvaluationRequest

LARGEST_FILE = 20 * 1024 * 1024
EvaluationOption = Annotated[
    str | None, typer.Option(metavar="@FILE", help="How the output is evaluated, as JSON in a file.")
]
M = TypeVar("M", bound=BaseModel)


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, hide_input_in_errors=True)


class _Known(BaseModel):
    """Of what the server answers only the members that are evaluated."""

    model_config = ConfigDict(extra="ignore", strict=True, hide_input_in_errors=True)


class _Citation(_Known):
    url: str


class _File(_Known):
    path: str
    content: str
    language: str | None = None


class _Result(_Known):
    raw_output: str
    data: JsonValue = None
    citations: list[_Citation] = []
    files: list[_File] = []


class _Task(_Known):
    input_text: str = ""
    result: _Result | None = None
    result_under_review: _Result | None = None


class _Labelled(_Strict):
    task: str = ""
    output: str
    scores: dict[str, Annotated[int, Field(ge=WORST, le=BEST)]] = Field(min_length=1)


def read_evaluation(option: str) -> Json:
    """What `--evaluation @FILE` names, checked. Raises `Invalid`."""
    if not option.startswith("@"):
        raise Invalid("--evaluation: write @FILE, the name of a file of JSON")
    path = Path(option[1:])
    body = _json(_text_of(path), str(path))
    _checked(EvaluationRequest, body, str(path))
    return dict(body)


def wanted_of(option: str) -> EvaluationRequest:
    return _checked(EvaluationRequest, read_evaluation(option), option[1:])


def read_output(path: Path) -> Subject:
    """Of a task as `orchestrate tasks show --json` prints it, or of its `result` alone. Raises `Invalid`."""
    return output_of(_json(_text_of(path), str(path)), str(path))


def output_of(given: Any, place: str) -> Subject:
    """Raises `Invalid` for a task that has no output."""
    if isinstance(given, Mapping) and "raw_output" in given:
        return _subject("", _checked(_Result, given, place))
    task = _checked(_Task, given, place)
    result = task.result or task.result_under_review
    if result is None:
        raise Invalid(f"{place}: there is no `result` to evaluate")
    return _subject(task.input_text, result)


def read_labelled(path: Path, names: list[str]) -> list[LabelledOutput]:
    """One per line; ``names`` are the criteria there are. Raises `Invalid` that names the line."""
    found = [_labelled(line, f"{path}:{number}", names) for number, line in _lines(path)]
    if not found:
        raise Invalid(f'{path}: there is no case: write lines of {{"task": …, "output": …, "scores": {{…: 1 to 5}}}}')
    return found


def _labelled(line: str, place: str, names: list[str]) -> LabelledOutput:
    case = _checked(_Labelled, _json(line, place), place)
    if strange := sorted(set(case.scores) - set(names)):
        raise Invalid(f"{place}: no criterion {strange[0][:64]!r} is in the rubric; there are {', '.join(names)}")
    return LabelledOutput(place, case.task, case.output, case.scores)


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    for number, line in enumerate(_text_of(path).split("\n"), start=1):
        if line.strip():
            yield number, line


def _subject(task: str, result: _Result) -> Subject:
    return subject_of(task, result.model_dump())


def _json(text: str, place: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise Invalid(f"{place}: it is not JSON: {error}") from error


def _checked(kind: type[M], value: Any, place: str) -> M:
    try:
        return kind.model_validate(value)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False, include_context=False)[0]
        where = ".".join(map(str, first["loc"]))
        raise Invalid(f"{place}: {where + ': ' if where else ''}{first['msg']}") from error


def _text_of(path: Path) -> str:
    try:
        if path.stat().st_size > LARGEST_FILE:
            raise Invalid(f"{path}: it has more than {LARGEST_FILE} bytes")
        return path.read_text("utf-8")
    except OSError as error:
        raise Invalid(f"{path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise Invalid(f"{path}: it is not UTF-8 text") from error
