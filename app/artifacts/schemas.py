"""What crosses the wire for artifacts. Field names are a contract: add, never rename or remove."""

from typing import Literal

from pydantic import BaseModel, Field

from app.artifacts.models import ArtifactKind, FoundArtifact
from app.http.pagination import PageMeta
from app.http.timestamps import Timestamp

EXAMPLE_DIGEST = "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824"


class HoldNote(BaseModel):
    """Why it is not deleted."""

    reason: str
    placed_by: str = Field(description="Id of the key.")
    placed_at: Timestamp


class ArtifactInfo(BaseModel):
    sha256: str = Field(examples=[EXAMPLE_DIGEST])
    kind: ArtifactKind
    name: str = Field(examples=["report.csv"])
    media_type: str = Field(examples=["text/csv"])
    size: int = Field(description="Bytes.")
    created_at: Timestamp | None
    created_by: str | None = Field(description="Id of the key that uploaded it.")
    expires_at: Timestamp | None = Field(description="When an upload is deleted; null: never, or with its task.")
    legal_hold: HoldNote | None = Field(description="Of an upload; those of tasks and executions are shown there.")
    task_id: str | None = Field(description="Task that it belongs to.")
    execution_id: str | None = Field(description="Execution that it belongs to.")
    step: str | None = Field(description="Path of the step, where it belongs to an execution.")
    attempt: int | None = Field(description="Attempt that it tells of.")


class ArtifactInfoResponse(ArtifactInfo):
    api_version: Literal["v1"] = "v1"


class UploadListResponse(BaseModel):
    items: list[ArtifactInfo]
    meta: PageMeta
    next_cursor: str | None
    api_version: Literal["v1"] = "v1"


class ArtifactLinkResponse(BaseModel):
    """Whoever has the URL has the artifact."""

    url: str
    expires_in: int = Field(description="Seconds.", examples=[600])
    sha256: str = Field(description="Of what is there, to be checked by whoever downloads it.")
    api_version: Literal["v1"] = "v1"


def info_of(found: FoundArtifact) -> ArtifactInfo:
    return ArtifactInfo.model_validate(found, from_attributes=True)


def response_of(found: FoundArtifact) -> ArtifactInfoResponse:
    return ArtifactInfoResponse.model_validate(found, from_attributes=True)
