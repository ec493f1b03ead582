"""The texts that are proposed: small ones lie with their approval, large ones in the artifact store."""

from collections.abc import Mapping
from typing import Any

from app.artifacts.store import ArtifactStore

LARGEST_INLINE = 16 * 1024
_MEDIA_TYPE = "text/plain; charset=utf-8"
Stored = Mapping[str, Any]


class ProposedInputs:
    def __init__(self, artifacts: ArtifactStore) -> None:
        self._artifacts = artifacts

    async def put(self, tenant_id: str, approval_id: str, text: str) -> Stored:
        """What stands for the text in the document, to be stored after this."""
        data = text.encode()
        if len(data) <= LARGEST_INLINE:
            return {"text": text}
        kept = await self._artifacts.put(place_of(tenant_id, approval_id), data, _MEDIA_TYPE)
        return {"sha256": kept.sha256, "size": kept.size}

    async def get(self, tenant_id: str, approval_id: str, stored: Stored | None) -> str | None:
        if stored is None:
            return None
        if "text" in stored:
            return str(stored["text"])
        return (await self._artifacts.get(place_of(tenant_id, approval_id), stored["sha256"])).decode()

    async def delete(self, tenant_id: str, approval_id: str) -> None:
        await self._artifacts.delete_all(place_of(tenant_id, approval_id))


def place_of(tenant_id: str, approval_id: str) -> str:
    return f"{tenant_id}/approvals/{approval_id}"
