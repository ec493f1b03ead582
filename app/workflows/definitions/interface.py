"""What an execution of a workflow takes and gives, as JSON Schema. Pure."""

import re
from collections.abc import Mapping
from typing import Any

from app.contracts import object_schema_of, schema_at
from app.workflows.language.models import Workflow

_INPUT = re.compile(r"\$\{\{\s*inputs((?:\.[A-Za-z_]\w*)+)\s*\}\}")
_OUTPUT = re.compile(r"\$\{\{\s*steps\.([A-Za-z_]\w*)\.output((?:\.[A-Za-z_]\w*)+)\s*\}\}")


def inputs_of(workflow: Workflow) -> dict[str, Any]:
    return object_schema_of(workflow.inputs, closed=not workflow.additional_inputs)


def outputs_of(workflow: Workflow) -> dict[str, Any]:
    """Known for outputs that are an input or a part of a step's declared output; anything for computed ones."""
    return {
        "type": "object",
        "properties": {name: _schema_of(template, workflow) for name, template in workflow.outputs.items()},
        "required": list(workflow.outputs),
        "additionalProperties": False,
    }


def _schema_of(template: Any, workflow: Workflow) -> Mapping[str, Any]:
    if not isinstance(template, str):
        return {}
    if found := _INPUT.fullmatch(template):
        return schema_at(inputs_of(workflow), _path(found[1])) or {}
    if (found := _OUTPUT.fullmatch(template)) and (step := workflow.steps.get(found[1])):
        declared = object_schema_of(step.output or {}) if step.for_each is None else {}
        schema = schema_at(declared, _path(found[2]))
        # A step that was skipped gives null.
        return {"anyOf": [schema, {"type": "null"}]} if schema else {}
    return {}


def _path(dotted: str) -> tuple[str, ...]:
    return tuple(dotted.removeprefix(".").split("."))
