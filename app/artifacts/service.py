"""Finds any artifact of a tenant by its digest, whatever it belongs to."""

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from datetime import timedelta

from app.artifacts.models import FoundArtifact, is_digest
from app.artifacts.store import ArtifactNotFound, ArtifactStore

FindArtifact = Callable[[str, str], Awaitable[FoundArtifact | None]]


class ArtifactFinder:
    """What another tenant has is not there."""

    def __init__(self, store: ArtifactStore, finders: Sequence[FindArtifact]) -> None:
        """Each of ``finders`` looks in one place, by the tenant and the digest; the first that finds it counts."""
        self._store = store
        self._finders = finders

    async def get(self, tenant_id: str, sha256: str) -> FoundArtifact:
        """Raises `ArtifactNotFound`."""
        if is_digest(sha256):
            for find in self._finders:
                if found := await find(tenant_id, sha256):
                    return found
        raise ArtifactNotFound(f"no artifact {sha256[:64]!r}")

    async def open(self, found: FoundArtifact) -> AsyncIterator[bytes]:
        """Its bytes, as `ArtifactStore.stream` has them."""
        return await self._store.stream(found.place, found.sha256, size=found.size)

    async def sign(self, tenant_id: str, sha256: str, *, expires_in: timedelta) -> str:
        """Raises `ArtifactNotFound` and `LinksNotSupported`."""
        found = await self.get(tenant_id, sha256)
        return await self._store.sign(found.place, sha256, expires_in=expires_in)
