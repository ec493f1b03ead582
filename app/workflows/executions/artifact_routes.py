"""The HTTP routes of what steps of executions keep."""

from typing import Annotated, Literal

from fastapi import APIRouter, Depends, Path, Query, Request, Response
from pydantic import BaseModel, Field

from app.http.downloads import download
from app.http.openapi import responses
from app.identity.authentication import CurrentPrincipal
from app.tasks.artifact_routes import LINK_LIFETIME, ArtifactLink
from app.tasks.schemas import Artifact
from app.workflows.executions.artifacts import ExecutionArtifacts
from app.workflows.executions.routes import ExecutionId

router = APIRouter(prefix="/v1/executions/{execution_id}/artifacts", tags=["Workflows"])
Digest = Annotated[str, Path(description="The artifact's `sha256`.")]


class StepArtifact(Artifact):
    path: str = Field(description="The step that keeps it.", examples=["build"])
    series: int = Field(description="The series of attempts at the execution that the step belongs to.")


class StepArtifactsResponse(BaseModel):
    items: list[StepArtifact]
    next_after: int | None = Field(description="For `after`, when there may be more.")
    api_version: Literal["v1"] = "v1"


async def _service(request: Request) -> ExecutionArtifacts:
    service: ExecutionArtifacts = request.app.state.execution_artifacts
    return service


Service = Annotated[ExecutionArtifacts, Depends(_service)]


@router.get("", responses=responses(404, 422, 503))
async def list_execution_artifacts(
    execution_id: ExecutionId,
    service: Service,
    principal: CurrentPrincipal,
    after: Annotated[int, Query(ge=0, le=10**12, description="`next_after` of the last answer.")] = 0,
) -> StepArtifactsResponse:
    """What its steps keep, in the order in which they began, and then the evidence; an answer holds that of a hundred
    steps at most."""
    found, more = await service.list_page(principal.tenant_id, execution_id, after=after)
    items = [StepArtifact(**Artifact.of(one.artifact).model_dump(), path=one.path, series=one.series) for one in found]
    return StepArtifactsResponse(items=items, next_after=more)


@router.get(
    "/{sha256}",
    response_class=Response,
    responses={
        **responses(404, 503),
        200: {"description": "The artifact's bytes, in its media type.", "content": {"*/*": {}}},
    },
)
async def download_execution_artifact(
    execution_id: ExecutionId, sha256: Digest, service: Service, principal: CurrentPrincipal
) -> Response:
    """One artifact as a file. Up to 8 MiB are checked before they are sent; a larger one that is not what it should be
    breaks off before its end."""
    artifact, pieces = await service.open(principal.tenant_id, execution_id, sha256)
    return download(pieces, name=artifact.name, media_type=artifact.media_type, sha256=sha256, size=artifact.size)


@router.get("/{sha256}/link", responses=responses(404, 409, 503))
async def link_execution_artifact(
    execution_id: ExecutionId, sha256: Digest, service: Service, principal: CurrentPrincipal
) -> ArtifactLink:
    """A link that anybody can download the artifact at for ten minutes, from S3; nothing checks it on the way."""
    url = await service.sign(principal.tenant_id, execution_id, sha256, expires_in=LINK_LIFETIME)
    return ArtifactLink(url=url, expires_in=int(LINK_LIFETIME.total_seconds()), sha256=sha256)
