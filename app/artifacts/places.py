"""Where blobs are: `{tenant}/{yyyy}/{mm}/{dd}/{id}/{part}/…/{sha256}`, with the day on which the id was made.

Whatever belongs to a task or an execution is below one place, so that it is deleted with it whatever documents know.
Steps share the place of their execution: a folder for each would cost thousands of small ones more than their blobs.
No tenant's name and no id has a slash.
"""

from collections.abc import Mapping
from enum import StrEnum

from app.ids import day_of
from app.jobs.models import Job


class Part(StrEnum):
    """What is kept of a task or a step; values are of whole executions."""

    EVALUATIONS = "evaluations"
    APPROVALS = "approvals"
    EXECUTIONS = "executions"
    OUTPUTS = "outputs"
    VALUES = "values"
    CHECKPOINTS = "checkpoints"


def place_of(tenant_id: str, subject_id: str, *parts: str) -> str:
    """The place of a task or an execution, or of a part of it."""
    return "/".join((tenant_id, day_of(subject_id), subject_id, *parts))


def place_of_job(job: Job, *parts: str) -> str:
    """Of a task, or of the execution that a step is of."""
    return place_of(job.tenant_id, job.document.get("execution_id") or job.id, *parts)


def place_of_subject(tenant_id: str, ids: Mapping[str, str], *parts: str) -> str:
    """Of what people are asked about: ``ids`` are `task_id`, or `execution_id` and `step_id`."""
    return place_of(tenant_id, ids.get("execution_id") or ids["task_id"], *parts)
