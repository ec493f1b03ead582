"""The settings of uploaded artifacts, a part of `app.settings.Settings`."""

from pydantic import Field
from pydantic_settings import BaseSettings


class ArtifactSettings(BaseSettings):
    # --- uploaded artifacts
    artifact_upload_max_bytes: int = Field(
        1024**3, ge=1, le=5 * 1024**3, description="Largest artifact that may be uploaded, in bytes; at most 5 GiB."
    )
    artifact_upload_retention_days: float = Field(
        0.0,
        ge=0,
        le=36_500,
        description="Uploads are deleted so long after they were sent last, unless they are under legal hold; 0 keeps "
        "them for ever.",
    )
