"""Between the values of a workflow and what agents and evaluators take and give. Pure."""

import json
from collections.abc import Mapping
from typing import Any

from app.agents.base import AgentOutput
from app.agents.specs import AgentSpec
from app.governance.evaluation.models import Subject, subject_of
from app.tasks.execution import result_of
from app.workflows.language.expressions import as_text

TASK, TEXT = "task", "text"


def words_of(spec: AgentSpec, given: Mapping[str, Any], *, otherwise: str = "") -> tuple[str, dict[str, Any]]:
    """The task's words and the typed input: `task` is the words unless the agent's input has such a member."""
    inputs = dict(given)
    typed = spec.input_model
    if TASK in inputs and (typed is None or TASK not in typed.model_fields):
        return as_text(inputs.pop(TASK)), inputs
    if typed is not None or not inputs:
        return otherwise, inputs
    return as_text(inputs.get(TEXT, inputs)), inputs


def output_of(output: AgentOutput) -> dict[str, Any]:
    """As the steps that follow see it: the answer, and over it the members of its data."""
    result = result_of(output)
    data = result.pop("data")
    return {**result, **(json.loads(data) if data else {})}


def subject_in(task: str, output: Any) -> Subject:
    """What an evaluator sees of a step's output, whatever made it."""
    return subject_of(task, result_in(output))


def result_in(output: Any) -> dict[str, Any]:
    """A step's output in the shape of a task's result."""
    members = output if isinstance(output, dict) else {}
    text = members.get("raw_output")
    return {
        "raw_output": text if isinstance(text, str) else as_text(output),
        "data": output,
        "citations": [one for one in _objects(members.get("citations")) if isinstance(one.get("url"), str)],
        "files": [one for one in _objects(members.get("files")) if {"path", "content"} <= one.keys()],
    }


def _objects(value: Any) -> list[dict[str, Any]]:
    return [one for one in value if isinstance(one, dict)] if isinstance(value, list) else []
