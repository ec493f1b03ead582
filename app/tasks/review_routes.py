"""The HTTP route of a review: what a person says of an output that did not pass its evaluation."""

from typing import Literal

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field

from app.governance.audit.recording import Record
from app.http.openapi import writing
from app.http.parameters import IdempotencyKey
from app.identity.authentication import CurrentPrincipal
from app.tasks.presentation import present_task
from app.tasks.review import LONGEST_COMMENT, reviewed
from app.tasks.routes import Api, TaskId
from app.tasks.schemas import TaskResponse

router = APIRouter(prefix="/v1", tags=["Tasks"])


class ReviewRequest(BaseModel):
    """What becomes of a task whose output was flagged."""

    model_config = ConfigDict(extra="forbid", strict=True)

    decision: Literal["accept", "reject"] = Field(
        description="`accept` completes the task with its output, `reject` fails it with REJECTED."
    )
    comment: str | None = Field(None, max_length=LONGEST_COMMENT, description="Kept with the task.")


@router.post("/tasks/{task_id}/review", status_code=202, responses=writing(404, 409))
async def review_task(
    body: ReviewRequest,
    task_id: TaskId,
    api: Api,
    principal: CurrentPrincipal,
    idempotency_key: IdempotencyKey,
    record: Record,
) -> TaskResponse:
    """Accept or reject the output of a task that waits for a review."""
    answer = reviewed(body.decision, body.comment, by=principal.key_id)
    task = await api.tasks.resume(principal.tenant_id, task_id, answer, idempotency_key=idempotency_key)
    await record("task.reviewed", {"task_id": task_id}, {"decision": body.decision})
    return present_task(task)
