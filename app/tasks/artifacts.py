"""The artifacts of tasks: what agents make besides their answers.

Each task has a place of its own in the artifact store. Equal blobs of two tasks are therefore kept twice, and a task
that is deleted takes all of its blobs with it without looking at any other.
"""

import asyncio
import hashlib
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from datetime import timedelta
from functools import partial
from typing import Any

from app.agents.base import OutputArtifact
from app.artifacts.evidence import DIGESTS
from app.artifacts.models import ArtifactKind, FoundArtifact
from app.artifacts.places import Part, place_of, place_of_job
from app.artifacts.store import ArtifactNotFound, ArtifactStore
from app.errors import ExecutionError
from app.jobs.retention import DeleteBelongings, ExpiredJob
from app.jobs.runner import Attempt
from app.tasks.evidence import list_evidence
from app.tasks.repository import TaskRepository
from app.tasks.review import UNDER_REVIEW

MOST_ARTIFACTS = 20
LARGEST_ARTIFACT = 5 * 1024 * 1024
LARGEST_TOTAL = 20 * 1024 * 1024
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
_MEDIA_TYPE = re.compile(r"[a-z]+/[a-z0-9][a-z0-9.+-]{0,79}(; charset=utf-8)?")


class ArtifactRefused(ExecutionError):
    """An agent made something that is not kept; it would make the same again."""

    code = "ARTIFACT_REFUSED"
    title = "Artifact refused"


class TaskArtifacts:
    """What an agent puts its artifacts into during one round of an attempt."""

    def __init__(self, store: ArtifactStore, attempt: Attempt, noted: list[str]) -> None:
        """``noted`` is what the task has noted by now; what is noted here is added."""
        self._store = store
        self._attempt = attempt
        self._place = place_of_job(attempt.job, Part.OUTPUTS)
        self._noted = noted
        self._sizes: dict[str, int] = {}
        self._lock = asyncio.Lock()

    async def put(self, name: str, data: bytes, media_type: str) -> OutputArtifact:
        """Raises `ArtifactRefused`, `LeaseLost`, or what the store raises. Putting it again is harmless."""
        _check_names(name, media_type)
        sha256 = hashlib.sha256(data).hexdigest()
        async with self._lock:
            self._check_room(name, sha256, len(data))
            await self._note(sha256)
        await self._store.put(self._place, data, media_type)
        return OutputArtifact(name, media_type, sha256, len(data))

    def confirm(self, named: Iterable[OutputArtifact]) -> None:
        """Raises `ArtifactRefused` unless each of these was put by this attempt or an earlier one of its task."""
        for one in named:
            _check_names(one.name, one.media_type)
            if one.sha256 not in self._noted:
                raise ArtifactRefused(f"artifact {one.name!r} is in the answer, but was never put")

    def _check_room(self, name: str, sha256: str, size: int) -> None:
        if size > LARGEST_ARTIFACT:
            raise ArtifactRefused(f"artifact {name!r} has {size} bytes; at most {LARGEST_ARTIFACT} are kept")
        sizes = {**self._sizes, sha256: size}
        if len(sizes) > MOST_ARTIFACTS:
            raise ArtifactRefused(f"artifact {name!r} is one too many: a task keeps at most {MOST_ARTIFACTS}")
        if sum(sizes.values()) > LARGEST_TOTAL:
            raise ArtifactRefused(f"with artifact {name!r} the task has more than {LARGEST_TOTAL} bytes of artifacts")
        self._sizes = sizes

    async def _note(self, sha256: str) -> None:
        # Before the blob is there: one that nobody has noted would stay for ever after a crash.
        if sha256 not in self._noted:
            await self._attempt.save({DIGESTS: [*self._noted, sha256]})
            self._noted.append(sha256)


class ArtifactService:
    """What clients may read of a task's artifacts."""

    def __init__(self, store: ArtifactStore, get_task: Callable[[str, str], Awaitable[Mapping[str, Any]]]) -> None:
        """``get_task`` answers the tenant's task or raises its `NotFound`."""
        self._store = store
        self._get_task = get_task

    async def list_of_task(self, tenant_id: str, task_id: str) -> list[FoundArtifact]:
        """Those of the task's result, or of the one under review, in the agent's order; then the evidence."""
        return kept_of(await self._get_task(tenant_id, task_id))

    async def open(self, tenant_id: str, task_id: str, sha256: str) -> tuple[FoundArtifact, AsyncIterator[bytes]]:
        """The artifact and its bytes, as `ArtifactStore.stream` has them. Raises `ArtifactNotFound`."""
        found = await self._get(tenant_id, task_id, sha256)
        return found, await self._store.stream(found.place, sha256, size=found.size)

    async def sign(self, tenant_id: str, task_id: str, sha256: str, *, expires_in: timedelta) -> str:
        """Raises `ArtifactNotFound` and `LinksNotSupported`."""
        found = await self._get(tenant_id, task_id, sha256)
        return await self._store.sign(found.place, sha256, expires_in=expires_in)

    async def _get(self, tenant_id: str, task_id: str, sha256: str) -> FoundArtifact:
        known = await self.list_of_task(tenant_id, task_id)
        found = next((one for one in known if one.sha256 == sha256), None)
        if found is None:
            raise ArtifactNotFound(f"the task has no artifact {sha256[:64]!r}", task_id=task_id)
        return found


async def find_artifact(tasks: TaskRepository, tenant_id: str, sha256: str) -> FoundArtifact | None:
    """Of any task of the tenant that has it."""
    named = await tasks.list_naming(tenant_id, sha256)
    return next((one for task in named for one in kept_of(task) if one.sha256 == sha256), None)


def kept_of(task: Mapping[str, Any]) -> list[FoundArtifact]:
    """What its agent made, and then the evidence."""
    place = partial(place_of, task["tenant_id"], task["_id"])
    stored: Sequence[Mapping[str, Any]] = (task.get("result") or task.get(UNDER_REVIEW) or {}).get("artifacts") or ()
    made = [
        FoundArtifact(
            kind=ArtifactKind.OUTPUT,
            name=one["name"],
            media_type=one["media_type"],
            sha256=one["sha256"],
            size=one["size"],
            place=place(Part.OUTPUTS),
            created_at=task.get("completed_at"),
            task_id=task["_id"],
        )
        for one in stored
    ]
    return [*made, *list_evidence(task, place, task_id=task["_id"])]


def digests_of(task: Mapping[str, Any]) -> list[str]:
    """What the store may hold for a task, whichever attempt put it there."""
    return list(task.get(DIGESTS) or ())


def delete_artifacts_of(store: ArtifactStore) -> DeleteBelongings:
    """Deletes whatever the store has of these tasks or executions, also what nobody came to write down."""

    async def delete(jobs: Sequence[ExpiredJob]) -> None:
        for job in jobs:
            await store.delete_all(place_of(job.tenant_id, job.id))

    return delete


def _check_names(name: str, media_type: str) -> None:
    if not _NAME.fullmatch(name):
        raise ArtifactRefused(f"artifact {name[:100]!r}: name it with letters, digits, `.`, `_` and `-` like a file")
    if not _MEDIA_TYPE.fullmatch(media_type):
        raise ArtifactRefused(f"artifact {name!r}: {media_type[:100]!r} is no media type such as image/svg+xml")
