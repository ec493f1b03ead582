"""The HTTP routes about where a task goes: ask before, and answer when the router asks."""

from datetime import timedelta

from fastapi import APIRouter, Request, Response

from app.database.documents import Document
from app.errors import Unavailable
from app.http.openapi import writing
from app.http.parameters import IdempotencyKey
from app.http.preferences import PreferredWait, preference_applied
from app.identity.authentication import CurrentPrincipal
from app.jobs.models import Status
from app.tasks.models import DRY_RUN_DEADLINE, Caller, Submission
from app.tasks.presentation import present_task
from app.tasks.routes import Api, TaskId
from app.tasks.routing import REFUSAL
from app.tasks.routing_schemas import ClarifyRequest, RouteRequest, RouteResponse
from app.tasks.schemas import Cost, TaskResponse
from app.tasks.waiting import is_final

router = APIRouter(prefix="/v1", tags=["Tasks"])
# Without a wish of the client: longer than a router usually takes.
DEFAULT_WAIT = timedelta(seconds=20)
ACCEPTED = {"description": "Not decided yet: read the dry run at `Location`.", "model": RouteResponse}


class RoutingFailed(Unavailable):
    """The router could not be asked, or did not answer in time."""

    code = "ROUTING_FAILED"
    title = "Routing failed"


@router.post("/agent/route", responses={**writing(), 202: ACCEPTED})
async def route_task(
    body: RouteRequest,
    request: Request,
    response: Response,
    api: Api,
    principal: CurrentPrincipal,
    wait: PreferredWait,
    idempotency_key: IdempotencyKey,
) -> RouteResponse:
    """Where a task would go, and why, without doing it: no list, session or total ever shows it."""
    api.check_length(body.task)
    caller = Caller(principal.tenant_id, principal.key_id, request.state.request_id, request.state.trace_id)
    submission = Submission(
        text=body.task, session_id=body.session_id, inputs=body.input, deadline=DRY_RUN_DEADLINE, dry_run=True
    )
    accepted = await api.tasks.submit(submission, caller, idempotency_key=idempotency_key)
    task = await api.tasks.wait_for_end(accepted.task, wait or DEFAULT_WAIT)
    response.headers.update({"Location": f"/v1/tasks/{task['_id']}", **preference_applied(wait)})
    if accepted.replayed:
        response.headers["Idempotent-Replayed"] = "true"
    response.status_code = 200 if is_final(task) else 202
    return _present(task)


@router.post("/tasks/{task_id}/clarify", status_code=202, responses=writing(404, 409))
async def clarify_task(
    body: ClarifyRequest, task_id: TaskId, api: Api, principal: CurrentPrincipal, idempotency_key: IdempotencyKey
) -> TaskResponse:
    """Say which agent a task is for that waits for this, by its name or in other words."""
    if body.text is not None:
        api.check_length(body.text)
    task = await api.tasks.clarify(
        principal.tenant_id, task_id, agent=body.agent, text=body.text, idempotency_key=idempotency_key
    )
    return present_task(task)


def _present(task: Document) -> RouteResponse:
    """Raises `RoutingFailed` for a dry run that ended without a decision."""
    status, error = Status(task["status"]), task["error"]
    if status.is_final and status is not Status.COMPLETED:
        why = f"{error['type']}: {error['message']}" if error else status.value
        raise RoutingFailed(f"no decision was reached ({why})", task_id=task["_id"])
    return RouteResponse(
        task_id=task["_id"],
        status=status,
        selected_agent=task["selected_agent"],
        agent_type=task["agent_type"],
        routing=task["routing"],
        error=task.get(REFUSAL),
        cost=task["cost"] or Cost(),
    )
