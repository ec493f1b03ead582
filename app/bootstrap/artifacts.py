"""Uploads as the upkeep sees them."""

from app.artifacts.repository import COLLECTION, UploadRepository
from app.artifacts.retention import UploadRetention
from app.bootstrap.core import Core
from app.governance.audit.trail import SYSTEM


def build_upload_repository(core: Core) -> UploadRepository:
    return UploadRepository(core.documents(COLLECTION))


def build_upload_retention(core: Core) -> UploadRetention:
    async def record(tenant_id: str, count: int) -> None:
        await core.audit.record(tenant_id, "retention.deleted", SYSTEM, {"kind": "artifacts"}, {"count": count})

    return UploadRetention(core.artifacts, build_upload_repository(core), record=record, clock=core.clock)
