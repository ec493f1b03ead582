"""What clients may read of the recordings of an execution's steps."""

from collections.abc import Mapping
from typing import Any

from app.artifacts.places import Part, place_of
from app.artifacts.store import ArtifactStore
from app.replay.models import Recording, recordings_of
from app.replay.recordings import read_recording
from app.workflows.executions.repository import ExecutionRepository


class StepRecordings:
    """Of a step instance by its path, in a series of the execution, else the newest that has it.

    Each method raises `ExecutionNotFound` and `StepNotFound`.
    """

    def __init__(self, repository: ExecutionRepository, store: ArtifactStore) -> None:
        self._repository = repository
        self._store = store

    async def list_of_step(
        self, tenant_id: str, execution_id: str, path: str, *, series: int | None
    ) -> list[dict[str, Any]]:
        """Oldest attempt first."""
        return recordings_of(await self._step(tenant_id, execution_id, path, series))

    async def get(self, tenant_id: str, execution_id: str, path: str, sha256: str, *, series: int | None) -> Recording:
        """Raises `ArtifactNotFound`, `ArtifactCorrupt`, `RecordingUnreadable` or what the store raises."""
        step = await self._step(tenant_id, execution_id, path, series)
        place = place_of(tenant_id, execution_id, Part.EXECUTIONS)
        return await read_recording(self._store, place, sha256, recordings_of(step))

    async def _step(self, tenant_id: str, execution_id: str, path: str, series: int | None) -> Mapping[str, Any]:
        execution = await self._repository.get_progress(tenant_id, execution_id)
        return await self._repository.get_step(execution, path, series=series)
