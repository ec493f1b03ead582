"""What policies are told of steps, and what people are asked to approve before one begins."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from app.agents.registry import Registry
from app.errors import Invalid
from app.governance.approvals.models import ApprovalSubject, SubjectKind
from app.governance.policy.models import FactKind
from app.jobs.models import Job
from app.tasks.policy import Question
from app.workflows.places import Passed
from app.workflows.scoring.steps import work_of_step
from app.workflows.steps.policy_facts import Whose, facts_of_step


def question_of_step(job: Job, way: Sequence[Passed], given: Mapping[str, Any], registry: Registry) -> Question:
    """What is asked before the work of the last step of a way begins; approvers may change its input."""
    step, document = way[-1].step, job.document
    caller = document.get("created_by") or ""
    whose = Whose(job.tenant_id, document["execution_id"], document["workflow"]["name"], caller)
    costs = [one["cost"] for one in document["attempts"]]
    values = facts_of_step(
        whose, step.kind, step.agent or "", document["path"], given, attempt=job.attempt, costs=costs
    )
    subject = ApprovalSubject(
        SubjectKind.STEP,
        f"{job.id}:policy",
        f"step {document['path']} begins",
        {"execution_id": document["execution_id"], "step_id": job.id, "path": document["path"]},
        input=json.dumps(given, ensure_ascii=False),
        input_schema={"type": "object"},
    )
    return Question(FactKind.STEP, job.tenant_id, values, subject, caller, work_of_step(way, given, registry))


def edited_input(text: str) -> Mapping[str, Any]:
    """What approvers made of a step's input. Raises `Invalid`."""
    try:
        given = json.loads(text)
    except ValueError as error:
        raise Invalid("the approved input of the step is not JSON") from error
    if not isinstance(given, dict):
        raise Invalid("the approved input of the step is no object")
    return given
