"""The HTTP routes of legal holds. Only admins place and release them."""

from dataclasses import asdict
from typing import Annotated

from fastapi import APIRouter, Depends, Path, Query, Request, Response

from app.governance.legal_holds.models import HeldKind, LegalHold
from app.governance.legal_holds.schemas import (
    EXAMPLE_ID,
    LegalHoldItem,
    LegalHoldListResponse,
    LegalHoldRequest,
    LegalHoldResponse,
)
from app.governance.legal_holds.service import LegalHolds
from app.http.openapi import responses, writing
from app.http.pagination import Cursor
from app.http.parameters import PageQuery
from app.identity.authentication import CurrentAdministrator, CurrentPrincipal

router = APIRouter(prefix="/v1", tags=["Legal holds"])
TaskId = Annotated[str, Path(max_length=64, description="The task's id.", examples=[EXAMPLE_ID])]
ExecutionId = Annotated[str, Path(max_length=64, description="The execution's id.", examples=[EXAMPLE_ID])]
Sha256 = Annotated[str, Path(max_length=64, description="The `sha256` of an uploaded artifact.")]


async def _service(request: Request) -> LegalHolds:
    service: LegalHolds = request.app.state.legal_holds
    return service


Service = Annotated[LegalHolds, Depends(_service)]


@router.get("/legal-holds", responses=responses(422, 503))
async def list_legal_holds(
    holds: Service,
    principal: CurrentPrincipal,
    params: PageQuery,
    kind: Annotated[HeldKind | None, Query(description="Only holds on this.")] = None,
) -> LegalHoldListResponse:
    """What is held in your tenant and why, newest first, by page or by cursor."""
    page = await holds.list_page(principal.tenant_id, kind, params)
    return LegalHoldListResponse(
        items=[LegalHoldItem(**asdict(hold)) for hold in page.items],
        meta=page.meta(params),
        next_cursor=page.next_cursor(lambda last: Cursor(last.placed_at, last.subject_id)),
    )


@router.put("/tasks/{task_id}/legal-hold", responses=writing(404, 409))
async def put_task_legal_hold(
    body: LegalHoldRequest, task_id: TaskId, holds: Service, principal: CurrentAdministrator
) -> LegalHoldResponse:
    """Let nothing of a task be deleted until the hold is released, however old it gets."""
    by = principal.key_id
    return _present(await holds.place(principal.tenant_id, HeldKind.TASK, task_id, body.reason, by=by))


@router.delete(
    "/tasks/{task_id}/legal-hold",
    status_code=204,
    response_class=Response,
    responses=responses(403, 404, 409, 422, 503),
)
async def delete_task_legal_hold(task_id: TaskId, holds: Service, principal: CurrentAdministrator) -> Response:
    """Release a task: it is deleted when it is old enough. One that is not held stays as it is."""
    await holds.release(principal.tenant_id, HeldKind.TASK, task_id, by=principal.key_id)
    return Response(status_code=204)


@router.put("/executions/{execution_id}/legal-hold", responses=writing(404))
async def put_execution_legal_hold(
    body: LegalHoldRequest, execution_id: ExecutionId, holds: Service, principal: CurrentAdministrator
) -> LegalHoldResponse:
    """Let nothing of an execution and its steps be deleted until the hold is released, however old it gets."""
    by = principal.key_id
    return _present(await holds.place(principal.tenant_id, HeldKind.EXECUTION, execution_id, body.reason, by=by))


@router.delete(
    "/executions/{execution_id}/legal-hold",
    status_code=204,
    response_class=Response,
    responses=responses(403, 404, 422, 503),
)
async def delete_execution_legal_hold(
    execution_id: ExecutionId, holds: Service, principal: CurrentAdministrator
) -> Response:
    """Release an execution: it is deleted when it is old enough. One that is not held stays as it is."""
    await holds.release(principal.tenant_id, HeldKind.EXECUTION, execution_id, by=principal.key_id)
    return Response(status_code=204)


@router.put("/artifacts/{sha256}/legal-hold", responses=writing(404))
async def put_artifact_legal_hold(
    body: LegalHoldRequest, sha256: Sha256, holds: Service, principal: CurrentAdministrator
) -> LegalHoldResponse:
    """Keep an uploaded artifact until the hold is released. Those of tasks and executions are held with these."""
    by = principal.key_id
    return _present(await holds.place(principal.tenant_id, HeldKind.ARTIFACT, sha256, body.reason, by=by))


@router.delete(
    "/artifacts/{sha256}/legal-hold",
    status_code=204,
    response_class=Response,
    responses=responses(403, 404, 422, 503),
)
async def delete_artifact_legal_hold(sha256: Sha256, holds: Service, principal: CurrentAdministrator) -> Response:
    """Release an uploaded artifact. One that is not held stays as it is."""
    await holds.release(principal.tenant_id, HeldKind.ARTIFACT, sha256, by=principal.key_id)
    return Response(status_code=204)


def _present(hold: LegalHold) -> LegalHoldResponse:
    return LegalHoldResponse(**asdict(hold))
