"""Evidence of what was decided and done: documents that are in the artifact store before anything refers to them."""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from app.artifacts.models import ArtifactKind
from app.artifacts.store import ArtifactStore
from app.clock import to_iso

# In the document of a task or a step: what refers to each, oldest first, and the digests of all that its place may
# hold for it, whichever attempt put it there.
EVIDENCE, DIGESTS = "evidence", "artifact_digests"
VERSION = 1
MEDIA_TYPE = "application/json"

Entry = dict[str, Any]


class EvidenceStore:
    def __init__(self, artifacts: ArtifactStore, conceal: Callable[[Any], Any]) -> None:
        """``conceal`` answers JSON data without secrets."""
        self._artifacts = artifacts
        self._conceal = conceal

    async def put(
        self,
        place: str,
        document: Mapping[str, Any],
        *,
        kind: ArtifactKind,
        name: str,
        at: datetime,
        attempt: int | None = None,
    ) -> Entry:
        """What refers to it, to be written after this. Raises what `ArtifactStore.put` raises."""
        data = canonical(self._conceal(_plain({"version": VERSION, **document})))
        kept = await self._artifacts.put(place, data, MEDIA_TYPE)
        return {
            "kind": kind.value,
            "sha256": kept.sha256,
            "size": kept.size,
            "media_type": MEDIA_TYPE,
            "name": name,
            "attempt": attempt,
            "at": at,
        }


def evidence_of(document: Mapping[str, Any], kind: ArtifactKind | None = None) -> list[Entry]:
    """What a task or a step refers to, oldest first."""
    known: Iterable[Entry] = document.get(EVIDENCE) or ()
    return [one for one in known if kind is None or one["kind"] == kind]


def with_entry(document: Mapping[str, Any], entry: Mapping[str, Any] | None) -> dict[str, Any]:
    """The fields of a task or a step that refer to one more, if there is one and it is not known yet."""
    known = evidence_of(document)
    if entry is None or any(one["sha256"] == entry["sha256"] for one in known):
        return {}
    return {EVIDENCE: [*known, entry], DIGESTS: [*(document.get(DIGESTS) or ()), entry["sha256"]]}


def canonical(value: Any) -> bytes:
    """The same bytes for the same data, whichever order its fields came in."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()


def _plain(value: Any) -> Any:
    if isinstance(value, datetime):
        return to_iso(value)
    if isinstance(value, Mapping):
        return {str(name): _plain(one) for name, one in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [_plain(one) for one in value]
    return value
