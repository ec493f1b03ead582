"""The HTTP routes of a task's artifacts."""

from datetime import timedelta
from typing import Annotated, Literal

from fastapi import APIRouter, Depends, Path, Request, Response
from pydantic import BaseModel, Field

from app.http.downloads import download
from app.http.openapi import responses
from app.identity.authentication import CurrentPrincipal
from app.tasks.artifacts import ArtifactService
from app.tasks.schemas import EXAMPLE_ID, Artifact

router = APIRouter(prefix="/v1/tasks/{task_id}/artifacts", tags=["Tasks"])
TaskId = Annotated[str, Path(description="The id that `execute` answered.", examples=[EXAMPLE_ID])]
Digest = Annotated[str, Path(description="The artifact's `sha256`.")]
LINK_LIFETIME = timedelta(minutes=10)


class ArtifactListResponse(BaseModel):
    items: list[Artifact]
    api_version: Literal["v1"] = "v1"


class ArtifactLink(BaseModel):
    """Whoever has the URL has the artifact."""

    url: str
    expires_in: int = Field(description="Seconds.", examples=[600])
    sha256: str = Field(description="Of what is there, to be checked by whoever downloads it.")
    api_version: Literal["v1"] = "v1"


async def _service(request: Request) -> ArtifactService:
    service: ArtifactService = request.app.state.artifacts
    return service


Service = Annotated[ArtifactService, Depends(_service)]


@router.get("", responses=responses(404, 503))
async def list_task_artifacts(task_id: TaskId, service: Service, principal: CurrentPrincipal) -> ArtifactListResponse:
    """What the task's result has besides its text, in the agent's order; then the evidence of what was decided and
    done."""
    known = await service.list_of_task(principal.tenant_id, task_id)
    return ArtifactListResponse(items=[Artifact.of(one) for one in known])


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
    artifact, pieces = await service.open(principal.tenant_id, task_id, sha256)
    return download(pieces, name=artifact.name, media_type=artifact.media_type, sha256=sha256, size=artifact.size)


@router.get("/{sha256}/link", responses=responses(404, 409, 503))
async def link_task_artifact(
    task_id: TaskId, sha256: Digest, service: Service, principal: CurrentPrincipal
) -> ArtifactLink:
    """A link that anybody can download the artifact at for ten minutes, from S3; nothing checks it on the way."""
    url = await service.sign(principal.tenant_id, task_id, sha256, expires_in=LINK_LIFETIME)
    return ArtifactLink(url=url, expires_in=int(LINK_LIFETIME.total_seconds()), sha256=sha256)
