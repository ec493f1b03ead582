"""The HTTP routes of a task's artifacts."""

from typing import Annotated, Literal

from fastapi import APIRouter, Depends, Path, Request, Response
from pydantic import BaseModel

from app.http.openapi import responses
from app.identity.authentication import CurrentPrincipal
from app.tasks.artifacts import ArtifactService
from app.tasks.schemas import EXAMPLE_ID, Artifact

router = APIRouter(prefix="/v1/tasks/{task_id}/artifacts", tags=["Tasks"])
TaskId = Annotated[str, Path(description="The id that `execute` answered.", examples=[EXAMPLE_ID])]
Digest = Annotated[str, Path(description="The artifact's `sha256`.")]
# An agent's file must never act in the name of this site, not even when somebody opens it in a tab.
_INERT = "default-src 'none'; style-src 'unsafe-inline'; sandbox"


class ArtifactListResponse(BaseModel):
    items: list[Artifact]
    api_version: Literal["v1"] = "v1"


async def _service(request: Request) -> ArtifactService:
    service: ArtifactService = request.app.state.artifacts
    return service


Service = Annotated[ArtifactService, Depends(_service)]


@router.get("", responses=responses(404, 503))
async def list_task_artifacts(task_id: TaskId, service: Service, principal: CurrentPrincipal) -> ArtifactListResponse:
    """What the task's result has besides its text, in the agent's order."""
    known = await service.list_of_task(principal.tenant_id, task_id)
    return ArtifactListResponse(items=[Artifact.model_validate(one, from_attributes=True) for one in known])


@router.get(
    "/{sha256}",
    response_class=Response,
    responses={
        **responses(404, 503),
        200: {"description": "The artifact's bytes, in its media type.", "content": {"*/*": {}}},
    },
)
async def download_task_artifact(
    task_id: TaskId, sha256: Digest, service: Service, principal: CurrentPrincipal
) -> Response:
    """One artifact as a file. Its bytes are checked against the digest before they are sent."""
    artifact, data = await service.get(principal.tenant_id, task_id, sha256)
    headers = {
        "Content-Disposition": f'attachment; filename="{artifact.name}"',
        "Content-Security-Policy": _INERT,
        "X-Content-Type-Options": "nosniff",
        "ETag": f'"{sha256}"',
        "Cache-Control": "private, max-age=31536000, immutable",
    }
    return Response(data, media_type=artifact.media_type, headers=headers)
