"""Serialised values: in the thread's document, or in the artifact store when the document would grow too large."""

from typing import Any

from app.artifacts.store import ArtifactCorrupt, ArtifactNotFound, ArtifactStore
from app.checkpoints.errors import CheckpointUnusable
from app.checkpoints.serde import Typed
from app.database.documents import Document
from app.ids import new_token

LARGEST_DOCUMENT = 1024 * 1024
MEDIA_TYPE = "application/msgpack"


class Values:
    """The values of one thread."""

    def __init__(self, artifacts: ArtifactStore, place: str, thread_id: str) -> None:
        self._artifacts = artifacts
        self._place = place
        self._thread_id = thread_id

    async def pack(self, value: Typed, *, room: int) -> Document:
        """The value as it is stored; it is spilled when it is longer than ``room`` bytes."""
        kind, data = value
        if len(data) <= room:
            return {"kind": kind, "data": data}
        # A blob is named after its content. The mark gives each value a name of its own, so that it can be deleted.
        mark = f"{self._thread_id}\n{new_token()}\n".encode()
        spilled = await self._artifacts.put(self._place, mark + data, MEDIA_TYPE)
        return {"kind": kind, "sha256": spilled.sha256}

    async def unpack(self, stored: Document) -> Typed:
        """Raises `CheckpointUnusable` when it was spilled and is not there, or not what it was."""
        if "sha256" not in stored:
            return stored["kind"], bytes(stored["data"])
        try:
            marked = await self._artifacts.get(self._place, stored["sha256"])
        except (ArtifactNotFound, ArtifactCorrupt) as error:
            raise CheckpointUnusable(f"a part of the checkpoint is lost: {error.message}") from error
        return stored["kind"], marked.split(b"\n", 2)[2]

    async def remove(self, sha256: str) -> None:
        await self._artifacts.delete(self._place, sha256)


def inline_size(stored: Any) -> int:
    """The bytes of values that are in this part of a document."""
    if not isinstance(stored, dict):
        return 0
    return len(stored["data"]) if "data" in stored else sum(map(inline_size, stored.values()))


def spilled_in(stored: Any) -> set[str]:
    """The digests of the blobs that this part of a document names."""
    if not isinstance(stored, dict):
        return set()
    return {stored["sha256"]} if "sha256" in stored else set().union(*map(spilled_in, stored.values()))
