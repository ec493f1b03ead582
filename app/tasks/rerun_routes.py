"""The HTTP route that does a task anew."""

from fastapi import APIRouter, Request, Response

from app.http.openapi import writing
from app.http.parameters import IdempotencyKey
from app.identity.authentication import CurrentPrincipal
from app.tasks.models import Caller
from app.tasks.presentation import present_accepted
from app.tasks.routes import Api, TaskId
from app.tasks.schemas import AcceptedResponse

router = APIRouter(prefix="/v1", tags=["Tasks"])


@router.post("/tasks/{task_id}/rerun", status_code=202, responses=writing(404, 409))
async def rerun_task(
    task_id: TaskId,
    request: Request,
    response: Response,
    api: Api,
    principal: CurrentPrincipal,
    idempotency_key: IdempotencyKey,
) -> AcceptedResponse:
    """Do a task anew, whatever became of it: another task with the same input, agent and options, linked to it."""
    caller = Caller(principal.tenant_id, principal.key_id, request.state.request_id, request.state.trace_id)
    accepted = await api.tasks.rerun(caller, task_id, idempotency_key=idempotency_key)
    response.headers["Location"] = f"/v1/tasks/{accepted.task['_id']}"
    if accepted.replayed:
        response.headers["Idempotent-Replayed"] = "true"
    return present_accepted(accepted.task, waited=False)
