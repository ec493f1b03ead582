"""What is kept of executions: the files and values that `artifacts:` names, what agents made, and the evidence."""

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import Any

from app.artifacts.evidence import DIGESTS
from app.artifacts.models import ArtifactKind, FoundArtifact
from app.artifacts.places import Part, place_of
from app.artifacts.store import ArtifactNotFound, ArtifactStore
from app.database.documents import Document
from app.tasks.evidence import list_evidence
from app.workflows.executions.repository import ExecutionRepository
from app.workflows.executions.values import ValueStore, values_place_of

STEPS_AT_ONCE = 100


@dataclass(frozen=True, slots=True)
class KeptArtifact:
    """``path`` and ``series`` say of which step."""

    path: str
    series: int
    artifact: FoundArtifact


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
        """Those of so many steps, in the order in which these began, and behind which step there may be more.

        The evidence comes after all else.
        """
        await self._repository.get_progress(tenant_id, execution_id)
        steps = await self._repository.list_keeping(tenant_id, execution_id, after=after, limit=self._steps_at_once)
        kept = [one for step in steps for one in await _made_by(step, self._values)]
        evidence = [one for step in steps for one in _evidence_of(step)]
        return [*kept, *evidence], steps[-1]["seq"] if len(steps) == self._steps_at_once else None

    async def open(self, tenant_id: str, execution_id: str, sha256: str) -> tuple[FoundArtifact, AsyncIterator[bytes]]:
        """One of them and its bytes, as `ArtifactStore.stream` has them. Raises `ArtifactNotFound`."""
        found = await self._get(tenant_id, execution_id, sha256)
        return found, await self._store.stream(found.place, sha256, size=found.size)

    async def sign(self, tenant_id: str, execution_id: str, sha256: str, *, expires_in: timedelta) -> str:
        """Raises `ArtifactNotFound` and `LinksNotSupported`."""
        found = await self._get(tenant_id, execution_id, sha256)
        return await self._store.sign(found.place, sha256, expires_in=expires_in)

    async def find(self, tenant_id: str, sha256: str) -> FoundArtifact | None:
        """Of any step of the tenant that has it."""
        for step in await self._repository.list_naming(tenant_id, sha256):
            kept = [*await _made_by(step, self._values), *_evidence_of(step)]
            if found := next((one.artifact for one in kept if one.artifact.sha256 == sha256), None):
                return found
        return None

    async def _get(self, tenant_id: str, execution_id: str, sha256: str) -> FoundArtifact:
        after: int | None = 0
        while after is not None:
            page, after = await self.list_page(tenant_id, execution_id, after=after)
            if found := next((one.artifact for one in page if one.artifact.sha256 == sha256), None):
                return found
        raise ArtifactNotFound(f"no step of the execution keeps an artifact {sha256[:64]!r}", execution_id=execution_id)


async def _made_by(step: Document, values: ValueStore) -> list[KeptArtifact]:
    made = dict(step.get("artifacts") or {}).items()
    if not step.get(DIGESTS) or step["output"] is None:
        return [_kept(step, name, one) for name, one in made]
    output = await values.get(values_place_of(step["tenant_id"], step["execution_id"]), step["output"])
    by_agent = (output.get("artifacts") if isinstance(output, dict) else None) or ()
    # What the agent says there is, as far as it was put.
    real = [(one["name"], one) for one in by_agent if one["sha256"] in step[DIGESTS]]
    return [_kept(step, name, one) for name, one in (*made, *real)]


def _evidence_of(step: Document) -> list[KeptArtifact]:
    place = partial(place_of, step["tenant_id"], step["execution_id"])
    found = list_evidence(step, place, execution_id=step["execution_id"], step=step["path"])
    return [KeptArtifact(step["path"], step["series"], one) for one in found]


def _kept(step: Document, name: str, stored: Mapping[str, Any]) -> KeptArtifact:
    artifact = FoundArtifact(
        kind=ArtifactKind.OUTPUT,
        name=name,
        media_type=stored["media_type"],
        sha256=stored["sha256"],
        size=stored["size"],
        place=place_of(step["tenant_id"], step["execution_id"], Part.OUTPUTS),
        created_at=step.get("completed_at"),
        execution_id=step["execution_id"],
        step=step["path"],
    )
    return KeptArtifact(step["path"], step["series"], artifact)
