"""Where recordings are kept: one blob per attempt, in the place of its task or step in the artifact store."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

import structlog

from app.artifacts.evidence import DIGESTS
from app.artifacts.places import Part, place_of, place_of_job
from app.artifacts.store import ArtifactNotFound, ArtifactStore
from app.clock import Clock
from app.errors import OrchestratorError
from app.jobs.runner import Attempt
from app.replay.models import MEDIA_TYPE, RECORDINGS, Recording, pack, recordings_of
from app.replay.tape import Mask, Tape

log = structlog.get_logger(__name__)

# A task must not wait for its recording.
LONGEST_PUT = 5.0
# Longer ones are packed in a thread, so that the event loop does not stand still for them.
PACKED_AT_ONCE = 64 * 1024


class Recorder:
    """Hands out tapes to the runs of attempts and keeps what is on them. Without room it records nothing."""

    def __init__(self, store: ArtifactStore, *, room: int, mask: Mask, clock: Clock) -> None:
        """``room`` is how much text of one run is kept, in bytes; 0 records nothing."""
        self._store = store
        self._room = room
        self._mask = mask
        self._clock = clock

    def new_tape(self) -> Tape | None:
        return Tape(self._room, self._mask) if self._room else None

    async def keep(self, attempt: Attempt, recording: Recording) -> None:
        """Keep it, and note it in the attempt's evidence; nothing when no agent ran or the store is away.

        The blob is there before anything refers to it. Work is worth more than its recording: nothing is raised.
        """
        if not recording.runs:
            return
        try:
            async with asyncio.timeout(LONGEST_PUT):
                packed = await _packed(recording)
                kept = await self._store.put(place_of_job(attempt.job, Part.EXECUTIONS), packed, MEDIA_TYPE)
        except (OrchestratorError, TimeoutError, ValueError) as error:
            log.warning("recording.not_kept", error_type=type(error).__name__)
            return
        attempt.evidence.append(DIGESTS, kept.sha256)
        attempt.evidence.append(
            RECORDINGS,
            {
                "attempt": recording.attempt,
                "sha256": kept.sha256,
                "size": kept.size,
                "media_type": MEDIA_TYPE,
                "runs": len(recording.runs),
                "at": self._clock(),
            },
        )


class RecordingService:
    """What clients may read of a task's recordings."""

    def __init__(self, store: ArtifactStore, get_task: Callable[[str, str], Awaitable[Mapping[str, Any]]]) -> None:
        """``get_task`` answers the tenant's task or raises its `NotFound`."""
        self._store = store
        self._get_task = get_task

    async def list_of_task(self, tenant_id: str, task_id: str) -> list[dict[str, Any]]:
        """Oldest attempt first."""
        return recordings_of(await self._get_task(tenant_id, task_id))

    async def get(self, tenant_id: str, task_id: str, sha256: str) -> Recording:
        """Raises `ArtifactNotFound`, `ArtifactCorrupt`, `RecordingUnreadable` or what the store raises."""
        known = await self.list_of_task(tenant_id, task_id)
        return await read_recording(self._store, place_of(tenant_id, task_id, Part.EXECUTIONS), sha256, known)


async def read_recording(
    store: ArtifactStore, place: str, sha256: str, known: Sequence[Mapping[str, Any]]
) -> Recording:
    """One of the ``known`` entries. Raises `ArtifactNotFound`, `RecordingUnreadable` and what the store raises."""
    if not any(one["sha256"] == sha256 for one in known):
        raise ArtifactNotFound(f"there is no recording {sha256[:64]!r} of this", sha256=sha256[:64])
    return await asyncio.to_thread(Recording.unpacked, await store.get(place, sha256))


async def _packed(recording: Recording) -> bytes:
    text = recording.as_text()
    return pack(text) if len(text) < PACKED_AT_ONCE else await asyncio.to_thread(pack, text)
