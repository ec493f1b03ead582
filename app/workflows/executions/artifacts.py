"""What steps of executions keep: the files and values that `artifacts:` names, and what their agents made."""

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from app.agents.base import OutputArtifact
from app.artifacts.store import ArtifactNotFound, ArtifactStore
from app.database.documents import Document
from app.tasks.artifacts import DIGESTS
from app.tasks.artifacts import place_of as place_of_agent
from app.workflows.executions.repository import ExecutionRepository
from app.workflows.executions.values import ValueStore, place_of

STEPS_AT_ONCE = 100


@dataclass(frozen=True, slots=True)
class KeptArtifact:
    """``place`` is where it is in the store, ``path`` and ``series`` of which step."""

    path: str
    series: int
    artifact: OutputArtifact
    place: str


class ExecutionArtifacts:
    """Each method raises `ExecutionNotFound`, and what the artifact store raises."""

    def __init__(
        self,
        repository: ExecutionRepository,
        values: ValueStore,
        store: ArtifactStore,
        *,
        steps_at_once: int = STEPS_AT_ONCE,
    ) -> None:
        self._steps_at_once = steps_at_once
        self._repository = repository
        self._values = values
        self._store = store

    async def list_page(
        self, tenant_id: str, execution_id: str, *, after: int
    ) -> tuple[list[KeptArtifact], int | None]:
        """Those of so many steps, in the order in which these began, and behind which step there may be more."""
        await self._repository.get_progress(tenant_id, execution_id)
        steps = await self._repository.list_keeping(tenant_id, execution_id, after=after, limit=self._steps_at_once)
        kept = [one for step in steps for one in await self._kept_by(step)]
        return kept, steps[-1]["seq"] if len(steps) == self._steps_at_once else None

    async def open(self, tenant_id: str, execution_id: str, sha256: str) -> tuple[OutputArtifact, AsyncIterator[bytes]]:
        """One of them and its bytes, as `ArtifactStore.stream` has them. Raises `ArtifactNotFound`."""
        found = await self._get(tenant_id, execution_id, sha256)
        return found.artifact, await self._store.stream(found.place, sha256, size=found.artifact.size)

    async def sign(self, tenant_id: str, execution_id: str, sha256: str, *, expires_in: timedelta) -> str:
        """Raises `ArtifactNotFound` and `LinksNotSupported`."""
        found = await self._get(tenant_id, execution_id, sha256)
        return await self._store.sign(found.place, sha256, expires_in=expires_in)

    async def _get(self, tenant_id: str, execution_id: str, sha256: str) -> KeptArtifact:
        after: int | None = 0
        while after is not None:
            page, after = await self.list_page(tenant_id, execution_id, after=after)
            if found := next((one for one in page if one.artifact.sha256 == sha256), None):
                return found
        raise ArtifactNotFound(f"no step of the execution keeps an artifact {sha256[:64]!r}", execution_id=execution_id)

    async def _kept_by(self, step: Document) -> list[KeptArtifact]:
        place = place_of(step["tenant_id"], step["execution_id"])
        named = [_artifact(name, one) for name, one in (step.get("artifacts") or {}).items()]
        kept = [KeptArtifact(step["path"], step["series"], one, place) for one in named]
        if not step.get(DIGESTS):
            return kept
        output = await self._values.get(place, step["output"])
        made = (output.get("artifacts") if isinstance(output, dict) else None) or ()
        whose = place_of_agent(step["tenant_id"], step["_id"])
        # What the agent says there is, as far as it was put.
        real = [_artifact(one["name"], one) for one in made if one["sha256"] in step[DIGESTS]]
        return [*kept, *(KeptArtifact(step["path"], step["series"], one, whose) for one in real)]


def _artifact(name: str, stored: Mapping[str, Any]) -> OutputArtifact:
    return OutputArtifact(name, stored["media_type"], stored["sha256"], stored["size"])
