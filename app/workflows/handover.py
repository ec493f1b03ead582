"""What crosses into a sub-workflow and out of steps that hold others: nothing that breaks a contract."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from app.contracts import object_schema_of, violations, with_defaults
from app.errors import Invalid
from app.llm.errors import AgentOutputInvalid
from app.workflows.language.models import Step, Workflow
from app.workflows.planner import End
from app.workflows.view import Ended, Fault


class WorkflowInputInvalid(Invalid):
    code = "WORKFLOW_INPUT_INVALID"
    title = "Workflow input invalid"


def checked_inputs(workflow: Workflow, given: Mapping[str, Any]) -> dict[str, Any]:
    """With their defaults. Raises `WorkflowInputInvalid` with all that does not fit."""
    inputs = with_defaults(workflow.inputs, given)
    found = violations(object_schema_of(workflow.inputs, closed=not workflow.additional_inputs), inputs)
    if found:
        raise WorkflowInputInvalid(f"the inputs of workflow {workflow.name!r} do not fit: {'; '.join(found)}")
    return inputs


def checked_output(step: Step, ended: Ended) -> Ended:
    """A failure instead of an output that breaks the step's contract."""
    if step.output is None or ended.end not in (End.SUCCEEDED, End.EXHAUSTED):
        return ended
    try:
        check_contract(step, ended.output)
    except AgentOutputInvalid as error:
        return replace(ended, end=End.FAILED, output=None, error=Fault(error.code, error.message))
    return ended


def check_contract(step: Step, output: Any) -> None:
    """Raises `AgentOutputInvalid`, with its ``violations``, for an output that breaks the step's contract."""
    if step.output is not None and (found := violations(object_schema_of(step.output), output)):
        raise AgentOutputInvalid(f"the output does not fit its contract: {'; '.join(found)}", violations=found)
