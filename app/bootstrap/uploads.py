"""Uploads as the API takes them, and where it looks for artifacts."""

from datetime import timedelta
from functools import partial

from app.artifacts.models import FoundArtifact
from app.artifacts.service import ArtifactFinder
from app.artifacts.uploads import UploadService
from app.bootstrap.artifacts import build_upload_repository
from app.bootstrap.core import Core
from app.bootstrap.executions import build_execution_artifacts
from app.tasks.artifacts import find_artifact


def build_uploads(core: Core) -> UploadService:
    days = core.settings.artifact_upload_retention_days
    return UploadService(
        core.artifacts,
        build_upload_repository(core),
        lifetime=timedelta(days=days) if days else None,
        record=core.audit.record,
        around=core.intents.around,
        clock=core.clock,
    )


def build_artifact_finder(core: Core) -> ArtifactFinder:
    """What clients uploaded, then what tasks have, then what executions have."""
    uploads = build_upload_repository(core)

    async def find_upload(tenant_id: str, sha256: str) -> FoundArtifact | None:
        upload = await uploads.find(tenant_id, sha256)
        return upload.as_found() if upload else None

    of_tasks, of_executions = partial(find_artifact, core.repository), build_execution_artifacts(core).find
    return ArtifactFinder(core.artifacts, (find_upload, of_tasks, of_executions))
