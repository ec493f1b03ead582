"""Deletes the state of agents together with the tasks they worked on."""

from collections.abc import Sequence

from app.artifacts.store import ArtifactStore
from app.database.documents import Document, Documents
from app.jobs.retention import DeleteBelongings, ExpiredJob

BATCH = 100
_AFTER_SLASH = chr(ord("/") + 1)


def delete_checkpoints_of(checkpoints: Documents, artifacts: ArtifactStore) -> DeleteBelongings:
    """Deletes what nobody deleted when these tasks ended, because their worker died then; it would expire later."""

    async def delete(jobs: Sequence[ExpiredJob]) -> None:
        for job in jobs:
            documents = checkpoints.of_tenant(job.tenant_id)
            while found := await documents.find_many(_threads_of(job), limit=BATCH, fields=("blobs",)):
                # The blobs first: a document that is gone would no longer name them.
                for sha256 in (digest for thread in found for digest in thread.get("blobs", ())):
                    await artifacts.delete(job.tenant_id, sha256)
                await documents.delete_many({"_id": {"$in": [thread["_id"] for thread in found]}})

    return delete


def _threads_of(job: ExpiredJob) -> Document:
    """All agents' threads in all series of attempts, by the index on ids."""
    place = f"{job.tenant_id}/{job.id}"
    return {"_id": {"$gt": f"{place}/", "$lt": f"{place}{_AFTER_SLASH}"}}
