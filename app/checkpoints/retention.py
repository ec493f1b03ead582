"""Deletes the state of agents together with the tasks they worked on; its blobs go with all that these have."""

from collections.abc import Sequence

from app.database.documents import Document, Documents
from app.jobs.retention import DeleteBelongings, ExpiredJob

_AFTER_SLASH = chr(ord("/") + 1)


def delete_checkpoints_of(checkpoints: Documents) -> DeleteBelongings:
    """Deletes what nobody deleted when these tasks ended, because their worker died then; it would expire later."""

    async def delete(jobs: Sequence[ExpiredJob]) -> None:
        for job in jobs:
            await checkpoints.of_tenant(job.tenant_id).delete_many(_threads_of(job))

    return delete


def _threads_of(job: ExpiredJob) -> Document:
    """All agents' threads in all series of attempts, by the index on ids."""
    place = f"{job.tenant_id}/{job.id}"
    return {"_id": {"$gt": f"{place}/", "$lt": f"{place}{_AFTER_SLASH}"}}
