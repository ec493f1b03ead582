"""Values of executions as they are stored: as text in the document, and large ones as an artifact that it names.

As text, like a task's input: the driver gives names such as `$ref` a meaning, and numbers a limit.
"""

import json
from collections.abc import Mapping
from typing import Any

from app.artifacts import places
from app.artifacts.store import ArtifactStore
from app.errors import OrchestratorError

# In bytes; more goes to the artifact store.
LARGEST_INLINE = 64 * 1024
# Templates hand on what they only name, however often, so that a few lines may describe more than any memory holds.
LARGEST = 32 * 1024 * 1024
DEEPEST = 200
JSON = "application/json"

Stored = Mapping[str, Any]


class ValueTooLarge(OrchestratorError):
    code = "VALUE_TOO_LARGE"
    title = "Value too large"


class ValueStore:
    def __init__(self, artifacts: ArtifactStore) -> None:
        self._artifacts = artifacts

    async def put(self, place: str, value: Any) -> dict[str, Any]:
        """How the value is to be stored in a document, of the execution whose place it is.

        Raises `ValueTooLarge`, and what `ArtifactStore.put` raises.
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


def values_place_of(tenant_id: str, execution_id: str) -> str:
    """Where in the artifact store an execution's values are."""
    return places.place_of(tenant_id, execution_id, places.Part.VALUES)


def encoded(value: Any) -> str:
    """In ASCII, so that it is as long as it has characters, and holds what no UTF-8 can. Raises `ValueTooLarge`."""
    check_size(value)
    return json.dumps(value, separators=(",", ":"))


def check_size(value: Any) -> None:
    """Raises `ValueTooLarge`. What is named many times is looked at once, so this costs less than writing it down."""
    if _size(value, {}, DEEPEST) > LARGEST:
        raise ValueTooLarge(f"a value has more than {LARGEST} characters as JSON; keep it elsewhere and name it")


def _size(value: Any, known: dict[int, int], levels: int) -> int:
    if isinstance(value, str):
        return len(value) + 2
    if not isinstance(value, dict | list):
        return 1
    if not levels:
        raise ValueTooLarge(f"a value is nested deeper than {DEEPEST} levels")
    if (found := known.get(id(value))) is None:
        names, parts = (value.keys(), value.values()) if isinstance(value, dict) else ((), value)
        found = 2 + sum(len(name) + 4 for name in names) + sum(_size(part, known, levels - 1) + 1 for part in parts)
        known[id(value)] = found
    return found
