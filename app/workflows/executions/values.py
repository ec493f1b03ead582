"""Values of executions as they are stored: as text in the document, and large ones as an artifact that it names.

As text, like a task's input: the driver gives names such as `$ref` a meaning, and numbers a limit. Each execution has a
place of its own in the artifact store, which is deleted with it without looking at any other.
"""

import json
from collections.abc import Mapping
from typing import Any

from app.artifacts.store import ArtifactStore

# In bytes; more goes to the artifact store.
LARGEST_INLINE = 64 * 1024
JSON = "application/json"

Stored = Mapping[str, Any]


class ValueStore:
    def __init__(self, artifacts: ArtifactStore) -> None:
        self._artifacts = artifacts

    async def put(self, place: str, value: Any) -> dict[str, Any]:
        """How the value is to be stored in a document, of the execution whose place it is.

        Raises what `ArtifactStore.put` raises.
        """
        text = encoded(value)
        if len(text) <= LARGEST_INLINE:
            return {"json": text}
        ref = await self._artifacts.put(place, text.encode(), JSON)
        return {"sha256": ref.sha256, "size": ref.size, "media_type": JSON}

    async def get(self, place: str, stored: Stored | None) -> Any:
        """None for nothing. Raises what `ArtifactStore.get` raises."""
        if stored is None:
            return None
        if (text := stored.get("json")) is not None:
            return json.loads(text)
        return json.loads(await self._artifacts.get(place, stored["sha256"]))


def place_of(tenant_id: str, execution_id: str) -> str:
    """Where in the artifact store an execution's values and files are; no tenant's own name has a slash."""
    return f"{tenant_id}/executions/{execution_id}"


def encoded(value: Any) -> str:
    """In ASCII, so that it is as long as it has characters, and holds what no UTF-8 can."""
    return json.dumps(value, separators=(",", ":"))
