"""Where recordings are kept: one blob per attempt, in a place of its task's own in the artifact store."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

import structlog

from app.artifacts.store import ArtifactNotFound, ArtifactStore
from app.errors import OrchestratorError
from app.jobs.retention import DeleteBelongings, ExpiredJob
from app.replay.models import MEDIA_TYPE, Recording, recordings_of
from app.replay.tape import Mask, Tape

log = structlog.get_logger(__name__)

# A task must not wait for its recording.
LONGEST_PUT = 5.0
# Longer ones are packed in a thread, so that the event loop does not stand still for them.
PACKED_AT_ONCE = 64 * 1024


class Recorder:
    """Hands out tapes to the runs of attempts and keeps what is on them. Without room it records nothing."""

    def __init__(self, store: ArtifactStore, *, room: int, mask: Mask) -> None:
        """``room`` is how much text of one run is kept, in bytes; 0 records nothing."""
        self._store = store
        self._room = room
        self._mask = mask

    def new_tape(self) -> Tape | None:
        return Tape(self._room, self._mask) if self._room else None

    async def keep(self, tenant_id: str, recording: Recording) -> dict[str, Any] | None:
        """The entry for the task's document; None when there is nothing to keep or the store is away.

        The blob is there before anything refers to it. A task is worth more than its recording: nothing is raised.
        """
        if not any(run.calls for run in recording.runs):
            return None
        try:
            async with asyncio.timeout(LONGEST_PUT):
                packed = await _packed(recording)
                kept = await self._store.put(place_of(tenant_id, recording.task_id), packed, MEDIA_TYPE)
        except (OrchestratorError, TimeoutError, ValueError) as error:
            log.warning("recording.not_kept", error_type=type(error).__name__)
            return None
        return {"attempt": recording.attempt, "sha256": kept.sha256, "size": kept.size, "runs": len(recording.runs)}


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
        if not any(one["sha256"] == sha256 for one in known):
            raise ArtifactNotFound(f"the task has no recording {sha256[:64]!r}", task_id=task_id)
        packed = await self._store.get(place_of(tenant_id, task_id), sha256)
        return await asyncio.to_thread(Recording.unpacked, packed)


def delete_recordings_of(store: ArtifactStore) -> DeleteBelongings:
    """Deletes whatever was recorded of these tasks, also by attempts that never came to write down that they did."""

    async def delete(jobs: Sequence[ExpiredJob]) -> None:
        for job in jobs:
            await store.delete_all(place_of(job.tenant_id, job.id))

    return delete


def place_of(tenant_id: str, task_id: str) -> str:
    """Where in the artifact store a task's recordings are; no tenant's own name has a slash."""
    return f"{tenant_id}/recordings/{task_id}"


async def _packed(recording: Recording) -> bytes:
    said = sum(len(message.content) for run in recording.runs for call in run.calls for message in call.messages)
    return recording.packed() if said < PACKED_AT_ONCE else await asyncio.to_thread(recording.packed)
