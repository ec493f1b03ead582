"""The HTTP routes of what is recorded of an execution's steps."""

from typing import Annotated

from fastapi import APIRouter, Depends, Request

from app.http.openapi import responses
from app.identity.authentication import CurrentPrincipal
from app.replay.models import Recording
from app.replay.routes import Digest, RecordingItem, RecordingListResponse
from app.workflows.executions.recordings import StepRecordings
from app.workflows.executions.routes import ExecutionId
from app.workflows.executions.step_routes import Series, StepPath

router = APIRouter(prefix="/v1/executions/{execution_id}/steps/{path}/recordings", tags=["Workflows"])


async def _service(request: Request) -> StepRecordings:
    service: StepRecordings = request.app.state.step_recordings
    return service


Service = Annotated[StepRecordings, Depends(_service)]


@router.get("", responses=responses(404, 422, 503))
async def list_step_recordings(
    execution_id: ExecutionId, path: StepPath, service: Service, principal: CurrentPrincipal, series: Series = None
) -> RecordingListResponse:
    """The recorded attempts at a step instance, oldest first; empty for steps that no agent carries out."""
    known = await service.list_of_step(principal.tenant_id, execution_id, path, series=series)
    return RecordingListResponse(items=[RecordingItem.model_validate(one) for one in known])


@router.get("/{sha256}", responses=responses(404, 422, 503))
async def get_step_recording(
    execution_id: ExecutionId,
    path: StepPath,
    sha256: Digest,
    service: Service,
    principal: CurrentPrincipal,
    series: Series = None,
) -> Recording:
    """One attempt's request, calls and output, for `orchestrate replay`."""
    return await service.get(principal.tenant_id, execution_id, path, sha256, series=series)
