"""The collections `policies`, one document per tenant, and `policy_versions`, one per text that was ever stored.

A version never changes and is never deleted, so that the digest of any decision leads to what decided.
"""

from dataclasses import dataclass
from datetime import datetime

from app.clock import Clock
from app.database.documents import NEWEST_FIRST, Document, Documents
from app.database.errors import DuplicateDocument, StoreUnavailable
from app.database.indexes import Index
from app.http.pagination import Cursor

POLICIES = "policies"
VERSIONS = "policy_versions"
INDEXES = (Index(VERSIONS, (("tenant_id", 1), ("created_at", -1), ("_id", -1))),)
_CURRENT = ("digest", "updated_at", "updated_by")
_VERSION = ("digest", "created_at", "created_by")
# Each round is lost only to another request that stored or deleted the policy in between.
_ROUNDS = 5


@dataclass(frozen=True, slots=True)
class Current:
    """The version that holds for a tenant."""

    digest: str
    updated_at: datetime
    updated_by: str


@dataclass(frozen=True, slots=True)
class Version:
    """``created_at`` is when its text was stored first."""

    digest: str
    created_at: datetime
    created_by: str


class PolicyRepository:
    def __init__(self, policies: Documents, versions: Documents, *, clock: Clock) -> None:
        self._policies = policies
        self._versions = versions
        self._clock = clock

    async def find(self, tenant_id: str) -> Current | None:
        """None where nothing is stored, or no longer."""
        found = await self._policies.of_tenant(tenant_id).find_one({"_id": tenant_id, "digest": {"$ne": None}})
        return Current(**{name: found[name] for name in _CURRENT}) if found else None

    async def find_text(self, tenant_id: str, digest: str) -> str | None:
        found = await self._versions.of_tenant(tenant_id).find_one({"_id": _key(tenant_id, digest)})
        return found["source_text"] if found else None

    async def list_versions(
        self, tenant_id: str, *, limit: int, skip: int = 0, after: Cursor | None = None
    ) -> list[Version]:
        """Newest first, from ``skip`` or from just behind ``after``."""
        found = await self._versions.of_tenant(tenant_id).find_many(
            _before(tenant_id, after), limit=limit, skip=skip, sort=NEWEST_FIRST, fields=_VERSION
        )
        return [Version(**{name: one[name] for name in _VERSION}) for one in found]

    async def count_versions(self, tenant_id: str, *, limit: int) -> int:
        return await self._versions.of_tenant(tenant_id).count({}, limit=limit)

    async def keep_version(self, tenant_id: str, digest: str, text: str, *, by: str) -> None:
        """Store a version that is not there yet."""
        version = {
            "_id": _key(tenant_id, digest),
            "digest": digest,
            "source_text": text,
            "created_at": self._clock(),
            "created_by": by,
        }
        await self._versions.of_tenant(tenant_id).insert_missing([version])

    async def make_current(self, tenant_id: str, digest: str, *, by: str, expected: str | None = None) -> bool:
        """With ``expected`` only when that is the version so far; False when it is not."""
        policies = self._policies.of_tenant(tenant_id)
        current = {"digest": digest, "updated_at": self._clock(), "updated_by": by}
        unchanged = {} if expected is None else {"digest": expected}
        for _ in range(_ROUNDS):
            if await policies.update_one({"_id": tenant_id, **unchanged}, {"$set": current}):
                return True
            if expected is not None:
                return False
            try:
                await policies.insert({"_id": tenant_id, **current})
            except DuplicateDocument:
                continue
            return True
        raise StoreUnavailable("this policy is contended; try again in a moment")

    async def remove(self, tenant_id: str, *, by: str, expected: str | None = None) -> bool:
        """False when there is none, or another one than ``expected``. Its versions stay."""
        digest = {"$ne": None} if expected is None else expected
        change = {"$set": {"digest": None, "updated_at": self._clock(), "updated_by": by}}
        return await self._policies.of_tenant(tenant_id).update_one({"_id": tenant_id, "digest": digest}, change)


def _key(tenant_id: str, digest: str) -> str:
    """No tenant's name has a colon, so no two versions share a key."""
    return f"{tenant_id}:{digest}"


def _before(tenant_id: str, position: Cursor | None) -> Document:
    if position is None:
        return {}
    same = {"created_at": position.created_at, "_id": {"$lt": _key(tenant_id, position.id)}}
    return {"$or": [{"created_at": {"$lt": position.created_at}}, same]}
