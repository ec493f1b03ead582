"""The typed edges of agents: an agent runs only with input it can take, and its data is kept only in its own shape.

Light: the API process imports it.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from app.agents.base import AgentOutput
from app.agents.code.paths import check_path, check_together
from app.agents.specs import AgentSpec
from app.errors import ExecutionError
from app.llm.errors import AgentOutputInvalid

MOST_PROBLEMS = 50
MOST_TOLD = 5
LONGEST_NAME = 40
LONGEST_MESSAGE = 300
LARGEST_DATA = 1024 * 1024
# Of all texts together, in bytes: it is kept in one document, with room for what else a task's document holds.
LARGEST_TEXTS = 4 * 1024 * 1024
_CUSTOM = "Value error, "


class AgentInputInvalid(ExecutionError):
    """The task does not hold what its agent needs; only another task can."""

    code = "AGENT_INPUT_INVALID"
    title = "Agent input invalid"


@dataclass(frozen=True, slots=True)
class Problem:
    """What is wrong with one member, named from the root as in `input.rules.0.column`."""

    field: str
    message: str
    type: str


def problems_of(spec: AgentSpec, inputs: Mapping[str, Any]) -> tuple[Problem, ...]:
    """Why the agent cannot take this input; empty when it can. One without an input model takes any."""
    return () if spec.input_model is None else _problems(spec.input_model, inputs, root="input")


def check_inputs(spec: AgentSpec, inputs: Mapping[str, Any]) -> None:
    """Raises `AgentInputInvalid`."""
    if problems := problems_of(spec, inputs):
        raise AgentInputInvalid(f"{spec.name} cannot take this input: {told(problems)}", agent=spec.name)


def find_taker(inputs: Mapping[str, Any], agents: Iterable[AgentSpec]) -> AgentSpec | None:
    """The one agent whose input model takes this input; None when there is no input, or none or several take it."""
    if not inputs:
        return None
    takers = [spec for spec in agents if spec.input_model is not None and not problems_of(spec, inputs)]
    return takers[0] if len(takers) == 1 else None


def check_texts(spec: AgentSpec, output: AgentOutput) -> None:
    """Raises `AgentOutputInvalid` for what could not be stored, and for files that would leave their folder."""
    if not isinstance(output, AgentOutput):
        raise AgentOutputInvalid(f"{spec.name} gave no AgentOutput")
    try:
        texts = (output.summary, output.raw_output, *output.notes, *(file.content for file in output.files))
        size = sum(len(text.encode()) for text in texts)
        check_together(check_path(file.path) for file in output.files)
    except (ValueError, TypeError, AttributeError) as error:
        # Whatever it says may quote the answer.
        raise AgentOutputInvalid(f"the answer of {spec.name} has a text or a path that cannot be kept") from error
    if size > LARGEST_TEXTS:
        raise AgentOutputInvalid(f"the answer of {spec.name} has {size} bytes; at most {LARGEST_TEXTS} are kept")


def check_output(spec: AgentSpec, output: AgentOutput) -> None:
    """Raises what `check_texts` raises, and `AgentOutputInvalid` for data that is no JSON, too large, or not what the
    agent's output model says.
    """
    check_texts(spec, output)
    if output.data is None and spec.output_model is None:
        return
    size = _json_size(spec, output.data)
    if size > LARGEST_DATA:
        raise AgentOutputInvalid(f"the data of {spec.name} has {size} bytes; at most {LARGEST_DATA} are kept")
    problems = () if spec.output_model is None else _problems(spec.output_model, output.data, root="data")
    if problems:
        raise AgentOutputInvalid(f"the data of {spec.name} has another shape than it says: {told(problems)}")


def told(problems: Sequence[Problem]) -> str:
    """The first problems in a line; never what was handed in."""
    more = f"; and {len(problems) - MOST_TOLD} more" if len(problems) > MOST_TOLD else ""
    return "; ".join(f"{one.field}: {one.message}" for one in problems[:MOST_TOLD]) + more


def _problems(model: type[BaseModel], value: Any, *, root: str) -> tuple[Problem, ...]:
    try:
        # As JSON, where a strict model takes a list for a tuple and a string for an enum.
        model.model_validate_json(json.dumps(value))
    except ValidationError as error:
        found = error.errors(include_url=False, include_input=False, include_context=False)
        return tuple(_problem(one, root) for one in found[:MOST_PROBLEMS])
    return ()


def _problem(one: ErrorDetails, root: str) -> Problem:
    where = ".".join([root, *(str(part)[:LONGEST_NAME] for part in one["loc"])])
    # The message of a wrong tag quotes it.
    message = one["type"] if one["type"] == "union_tag_invalid" else one["msg"].removeprefix(_CUSTOM)
    return Problem(where, message[:LONGEST_MESSAGE], one["type"])


def _json_size(spec: AgentSpec, data: Any) -> int:
    try:
        return len(json.dumps(data, allow_nan=False).encode())
    except (TypeError, ValueError, RecursionError) as error:
        raise AgentOutputInvalid(f"the data of {spec.name} is not plain JSON") from error
