"""The HTTP route of a task's attempts."""

from typing import Annotated

from fastapi import APIRouter, Query

from app.http.openapi import responses
from app.http.parameters import MAX_PAGE_SIZE
from app.identity.authentication import CurrentPrincipal
from app.tasks.attempt_schemas import AttemptListResponse
from app.tasks.attempts import present_attempts, work_on_task
from app.tasks.routes import Api, TaskId

router = APIRouter(prefix="/v1/tasks/{task_id}/attempts", tags=["Tasks"])
After = Annotated[int, Query(ge=0, lt=10**9, description="`next_cursor` of the last answer.")]
Limit = Annotated[int, Query(ge=1, le=MAX_PAGE_SIZE, description="Entries per answer.")]


@router.get("", responses=responses(404, 422, 503))
async def list_task_attempts(
    task_id: TaskId, api: Api, principal: CurrentPrincipal, after: After = 0, page_size: Limit = MAX_PAGE_SIZE
) -> AttemptListResponse:
    """Every attempt that was ever made at the task, oldest first: who made it, how it ended, and what it left."""
    task = await api.tasks.get_attempts(principal.tenant_id, task_id)
    return present_attempts(task, work_on_task(task), after=after, limit=page_size)
