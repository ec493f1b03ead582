"""Steps that call agents and sub-workflows: these exist, and are given what they take."""

import json
from typing import Any

from pydantic import BaseModel, ValidationError

from app.contracts import json_schema_of, violations
from app.workflows.language.checks.catalogue import Catalogue
from app.workflows.language.checks.findings import Findings, Path, nearest
from app.workflows.language.models import Step, Workflow
from app.workflows.language.templates import templates_in

# The words of the task, beside the typed input.
_WORDS = "task"
_MOST_TOLD = 5


def check_agent(step: Step, path: Path, catalogue: Catalogue, found: Findings) -> None:
    name = step.agent or ""
    if "${{" in name:
        found.add((*path, "agent"), "the agent has to be named, not computed", "use `switch`")
        return
    spec = catalogue.find_agent(name)
    if spec is None:
        found.add((*path, "agent"), f"there is no agent `{name[:80]}`", nearest(name, catalogue.agent_names()))
    elif spec.input_model is not None:
        _check_input(step.with_, (*path, "with"), spec.input_model, found)


def _check_input(given: dict[str, Any], path: Path, model: type[BaseModel], found: Findings) -> None:
    fields = {field.alias or name: field for name, field in model.model_fields.items()}
    values = {name: value for name, value in given.items() if name in fields or name != _WORDS}
    is_strict = model.model_config.get("extra") == "forbid"
    unknown = [name for name in values if is_strict and fields and name not in fields]
    for name in unknown:
        found.add((*path, name), f"the agent takes no `{name}`", nearest(name, fields))
    missing = [name for name, field in fields.items() if field.is_required() and name not in values]
    for name in missing:
        found.add(path, f"the agent needs `{name}`", f"add `{name}`")
    if not unknown and not missing and values and not _is_computed(values):
        _check_values(values, path, model, found)


def _check_values(values: dict[str, Any], path: Path, model: type[BaseModel], found: Findings) -> None:
    try:
        # As it comes from JSON, where an enum is a text.
        model.model_validate_json(json.dumps(values))
    except ValidationError as error:
        for one in error.errors(include_input=False, include_url=False, include_context=False)[:_MOST_TOLD]:
            found.add((*path, *one["loc"]), f"the agent does not take this: {one['msg']}")


def check_call(step: Step, path: Path, called: Workflow, found: Findings) -> None:
    """The `with` of a step against the inputs of the workflow that it calls."""
    name = called.name
    for key, value in step.with_.items():
        at = (*path, "with", key)
        if key in called.inputs:
            misfits = [] if _is_computed(value) else violations(json_schema_of(called.inputs[key]), value)
            for misfit in misfits[:_MOST_TOLD]:
                found.add(at, f"it does not fit the input `{key}` of `{name}`: {misfit}")
        elif not called.additional_inputs:
            found.add(at, f"workflow `{name}` has no input `{key}`", nearest(key, called.inputs))
    for key, contract in called.inputs.items():
        if contract.is_required and key not in step.with_:
            found.add((*path, "with"), f"workflow `{name}` needs the input `{key}`", f"add `{key}`")


def _is_computed(value: Any) -> bool:
    return next(templates_in(value), None) is not None
