"""The texts that are proposed: small ones lie with their approval, large ones in the artifact store."""

from collections.abc import Mapping
from typing import Any

from app.artifacts.places import Part, place_of_subject
from app.artifacts.store import ArtifactStore

LARGEST_INLINE = 16 * 1024
_MEDIA_TYPE = "text/plain; charset=utf-8"
Stored = Mapping[str, Any]


class ProposedInputs:
    def __init__(self, artifacts: ArtifactStore) -> None:
        self._artifacts = artifacts

    async def put(self, tenant_id: str, ids: Mapping[str, str], text: str) -> Stored:
        """What stands for the text in the document, to be stored after this; ``ids`` are the approval's subject's."""
        data = text.encode()
        if len(data) <= LARGEST_INLINE:
            return {"text": text}
        kept = await self._artifacts.put(place_of_subject(tenant_id, ids, Part.APPROVALS), data, _MEDIA_TYPE)
        return {"sha256": kept.sha256, "size": kept.size}

    async def get(self, tenant_id: str, ids: Mapping[str, str], stored: Stored | None) -> str | None:
        if stored is None:
            return None
        if "text" in stored:
            return str(stored["text"])
        place = place_of_subject(tenant_id, ids, Part.APPROVALS)
        return (await self._artifacts.get(place, stored["sha256"])).decode()
