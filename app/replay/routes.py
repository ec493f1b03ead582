"""The HTTP routes of a task's recordings."""

from typing import Annotated, Literal

from fastapi import APIRouter, Depends, Path, Request
from pydantic import BaseModel, Field

from app.http.openapi import responses
from app.http.timestamps import Timestamp
from app.identity.authentication import CurrentPrincipal
from app.replay.models import Recording
from app.replay.recordings import RecordingService

EXAMPLE_ID = "0192f7a1-6c1e-7b11-a8a4-2f3b9f6f2c10"
router = APIRouter(prefix="/v1/tasks/{task_id}/recordings", tags=["Tasks"])
TaskId = Annotated[str, Path(description="The id that `execute` answered.", examples=[EXAMPLE_ID])]
Digest = Annotated[str, Path(description="The recording's `sha256`.")]


class RecordingItem(BaseModel):
    """What the agents of one attempt were given, exchanged with models and tools, and gave."""

    attempt: int
    sha256: str
    size: int = Field(description="Bytes, packed.")
    runs: int = Field(description="How many runs of agents it holds.")
    at: Timestamp | None = Field(None, description="When it was kept; null for those of older versions.")


class RecordingListResponse(BaseModel):
    items: list[RecordingItem]
    api_version: Literal["v1"] = "v1"


async def _service(request: Request) -> RecordingService:
    service: RecordingService = request.app.state.recordings
    return service


Service = Annotated[RecordingService, Depends(_service)]


@router.get("", responses=responses(404, 503))
async def list_task_recordings(task_id: TaskId, service: Service, principal: CurrentPrincipal) -> RecordingListResponse:
    """The task's recorded attempts, oldest first; empty when no agent ran or `RECORDING_MAX_BYTES` is 0."""
    known = await service.list_of_task(principal.tenant_id, task_id)
    return RecordingListResponse(items=[RecordingItem.model_validate(one) for one in known])


@router.get("/{sha256}", responses=responses(404, 503))
async def get_task_recording(
    task_id: TaskId, sha256: Digest, service: Service, principal: CurrentPrincipal
) -> Recording:
    """One attempt's calls with their requests and answers, for `orchestrate replay`."""
    return await service.get(principal.tenant_id, task_id, sha256)
