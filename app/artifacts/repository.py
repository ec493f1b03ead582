"""The collection `artifacts`: one document per upload, noted before its blob is written and seen once that is complete.

Only the document of a kept upload has `sha256`, which is unique in its tenant. `due_at` is when the upkeep has to look
at it: an upload that has not ended by then never will, one that is being deleted is, and one that has expired will be.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from app.artifacts.models import Upload, UploadStatus
from app.database.documents import NEWEST_FIRST, Document, Documents
from app.database.errors import DuplicateDocument
from app.database.indexes import Index
from app.http.pagination import Cursor, older_than
from app.jobs.models import LEGAL_HOLD

COLLECTION = "artifacts"
_KEPT = {"status": UploadStatus.KEPT.value}
_STORED = ("tenant_id", "size", "media_type", "name", "created_at", "created_by")
INDEXES = (
    Index(
        COLLECTION,
        (("tenant_id", 1), ("sha256", 1)),
        {"unique": True, "partialFilterExpression": {"sha256": {"$exists": True}}},
    ),
    Index(COLLECTION, (("tenant_id", 1), ("status", 1), *NEWEST_FIRST)),
    Index(COLLECTION, (("due_at", 1),), {"sparse": True}),
)


class UploadRepository:
    def __init__(self, documents: Documents) -> None:
        self._documents = documents

    async def note(self, upload: Upload, *, until: datetime) -> None:
        """Before there is a blob: one that nobody has noted would stay for ever after a crash."""
        await self._documents.of_tenant(upload.tenant_id).insert(
            {
                "_id": upload.id,
                "status": UploadStatus.INCOMING.value,
                "digest": upload.sha256,
                **{name: getattr(upload, name) for name in _STORED},
                "due_at": until,
            }
        )

    async def keep(self, upload: Upload) -> bool:
        """Let it be seen, its blob being complete; False when the tenant has another of the same digest, or the upkeep
        has given this one up.
        """
        incoming = {"_id": upload.id, "status": UploadStatus.INCOMING.value}
        change = _expiry(upload.expires_at)
        change["$set"] |= {**_KEPT, "sha256": upload.sha256}
        try:
            return await self._documents.of_tenant(upload.tenant_id).update_one(incoming, change)
        except DuplicateDocument:
            return False

    async def find(self, tenant_id: str, sha256: str) -> Upload | None:
        found = await self._documents.of_tenant(tenant_id).find_one({"sha256": sha256})
        return _read(found) if found else None

    async def prolong(self, upload: Upload, expires_at: datetime | None) -> Upload | None:
        """Keep it until then, or for ever; None when it is not there any more."""
        of_tenant = self._documents.of_tenant(upload.tenant_id)
        found = await of_tenant.change_one({"_id": upload.id, **_KEPT}, _expiry(expires_at))
        return _read(found) if found else None

    async def list_newest(
        self, tenant_id: str, *, limit: int, skip: int = 0, after: Cursor | None = None
    ) -> list[Upload]:
        """Newest first, from ``skip`` or from just behind ``after``."""
        where = {**_KEPT, **(older_than(after) if after else {})}
        found = await self._documents.of_tenant(tenant_id).find_many(where, limit=limit, skip=skip, sort=NEWEST_FIRST)
        return [_read(one) for one in found]

    async def count(self, tenant_id: str, *, limit: int) -> int:
        return await self._documents.of_tenant(tenant_id).count(_KEPT, limit=limit)

    async def begin_deletion(self, upload: Upload, *, now: datetime) -> bool:
        """Take it out of sight, for good; False when it is held or gone."""
        return await self._take_away(upload, {LEGAL_HOLD: None, **_KEPT}, now)

    async def give_up(self, upload: Upload, *, now: datetime) -> bool:
        """`begin_deletion` of one that is still incoming; False when it is kept."""
        if await self._take_away(upload, {"status": UploadStatus.INCOMING.value}, now):
            return True
        # Where the upkeep was faster, a blob may have been written after it.
        kept = {"_id": upload.id, **_KEPT}
        return not await self._documents.of_tenant(upload.tenant_id).count(kept, limit=1)

    async def expire(self, upload: Upload, *, now: datetime) -> bool:
        """`begin_deletion` of one that is still due; False when it was prolonged or is held."""
        return await self._take_away(upload, {LEGAL_HOLD: None, "due_at": {"$lte": now}}, now)

    async def _take_away(self, upload: Upload, condition: Document, now: datetime) -> bool:
        change = {"$set": {"status": UploadStatus.DELETING.value, "due_at": now}, "$unset": {"sha256": ""}}
        return await self._documents.of_tenant(upload.tenant_id).update_one({"_id": upload.id, **condition}, change)

    async def forget(self, upload: Upload) -> None:
        """Remove the document of one whose blob is gone, unless it is kept."""
        await self._documents.of_tenant(upload.tenant_id).delete_one(
            {"_id": upload.id, "status": {"$ne": UploadStatus.KEPT.value}}
        )

    async def list_due(self, *, now: datetime, limit: int) -> list[tuple[Upload, UploadStatus]]:
        """Of all tenants, what the upkeep has to look at, and how far it had come."""
        due = {"due_at": {"$lte": now}, LEGAL_HOLD: None}
        found = await self._documents.find_many(due, limit=limit, sort=(("due_at", 1),))
        return [(_read(one), UploadStatus(one["status"])) for one in found]


def _expiry(at: datetime | None) -> Document:
    if at is None:
        return {"$set": dict(_KEPT), "$unset": {"expires_at": "", "due_at": ""}}
    return {"$set": {"expires_at": at, "due_at": at}}


def _read(stored: Mapping[str, Any]) -> Upload:
    return Upload(
        id=stored["_id"],
        sha256=stored["digest"],
        **{name: stored[name] for name in _STORED},
        expires_at=stored.get("expires_at"),
        legal_hold=stored.get(LEGAL_HOLD),
    )
