"""Deletes uploads that have expired, and what is left of those that broke off or were being deleted in a crash."""

from collections import Counter
from collections.abc import Awaitable, Callable

from app.artifacts.models import Upload, UploadStatus
from app.artifacts.places import place_of
from app.artifacts.repository import UploadRepository
from app.artifacts.store import ArtifactStore
from app.clock import Clock

BATCH = 100

# Keeps how many uploads of a tenant have expired.
RecordExpired = Callable[[str, int], Awaitable[None]]


class UploadRetention:
    def __init__(
        self, store: ArtifactStore, repository: UploadRepository, *, record: RecordExpired, clock: Clock
    ) -> None:
        self._store = store
        self._repository = repository
        self._record = record
        self._clock = clock

    async def delete_due(self) -> int:
        """Up to a batch, those that wait longest first; answers how many. What is held stays."""
        now, expired, removed = self._clock(), Counter[str](), 0
        for upload, status in await self._repository.list_due(now=now, limit=BATCH):
            if not await self._repository.expire(upload, now=now):
                continue
            expired[upload.tenant_id] += status is UploadStatus.KEPT
            await remove(upload, self._store, self._repository)
            removed += 1
        for tenant_id, count in expired.items():
            if count:
                await self._record(tenant_id, count)
        return removed


async def remove(upload: Upload, store: ArtifactStore, repository: UploadRepository) -> None:
    """Everything of an upload that is being deleted: its document last, so that a crash forgets no blob."""
    await store.delete_all(place_of(upload.tenant_id, upload.id))
    await repository.forget(upload)
