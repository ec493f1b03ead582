"""The artifacts of tasks: what agents make besides their answers.

Each task has a place of its own in the artifact store. Equal blobs of two tasks are therefore kept twice, and a task
that is deleted can take all of its blobs with it without looking at any other.
"""

import asyncio
import hashlib
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from datetime import timedelta
from typing import Any

from app.agents.base import OutputArtifact
from app.artifacts.store import ArtifactNotFound, ArtifactStore
from app.database.documents import Documents
from app.errors import ExecutionError
from app.jobs.retention import EXPIRED_TENANT, DeleteBelongings, ExpiredJob
from app.jobs.runner import Attempt
from app.tasks.review import UNDER_REVIEW

MOST_ARTIFACTS = 20
LARGEST_ARTIFACT = 5 * 1024 * 1024
LARGEST_TOTAL = 20 * 1024 * 1024
# In the task's document, next to its result: what the store holds for it, whichever attempt put it there.
DIGESTS = "artifact_digests"
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
        self._place = place_of(attempt.job.tenant_id, attempt.job.id)
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

    async def list_of_task(self, tenant_id: str, task_id: str) -> list[OutputArtifact]:
        """Those of the task's result, or of the one under review, in the agent's order."""
        return artifacts_of(await self._get_task(tenant_id, task_id))

    async def open(self, tenant_id: str, task_id: str, sha256: str) -> tuple[OutputArtifact, AsyncIterator[bytes]]:
        """The artifact and its bytes, as `ArtifactStore.stream` has them. Raises `ArtifactNotFound`."""
        found = await self._get(tenant_id, task_id, sha256)
        return found, await self._store.stream(place_of(tenant_id, task_id), sha256, size=found.size)

    async def sign(self, tenant_id: str, task_id: str, sha256: str, *, expires_in: timedelta) -> str:
        """Raises `ArtifactNotFound` and `LinksNotSupported`."""
        await self._get(tenant_id, task_id, sha256)
        return await self._store.sign(place_of(tenant_id, task_id), sha256, expires_in=expires_in)

    async def _get(self, tenant_id: str, task_id: str, sha256: str) -> OutputArtifact:
        known = await self.list_of_task(tenant_id, task_id)
        found = next((one for one in known if one.sha256 == sha256), None)
        if found is None:
            raise ArtifactNotFound(f"the task's result has no artifact {sha256[:64]!r}", task_id=task_id)
        return found


def artifacts_of(task: Mapping[str, Any]) -> list[OutputArtifact]:
    stored: Sequence[Mapping[str, Any]] = (task.get("result") or task.get(UNDER_REVIEW) or {}).get("artifacts") or ()
    return [OutputArtifact(one["name"], one["media_type"], one["sha256"], one["size"]) for one in stored]


def digests_of(task: Mapping[str, Any]) -> list[str]:
    """What the store may hold for a task, whichever attempt put it there."""
    return list(task.get(DIGESTS) or ())


def delete_artifacts_of(tasks: Documents, store: ArtifactStore) -> DeleteBelongings:
    """Deletes whatever any attempt of these tasks put into the store."""

    async def delete(jobs: Sequence[ExpiredJob]) -> None:
        tenant_of = {job.id: job.tenant_id for job in jobs}
        expired = tasks.of_tenant(EXPIRED_TENANT)
        found = await expired.find_many({"_id": {"$in": list(tenant_of)}}, limit=len(jobs), fields=(DIGESTS,))
        for task in found:
            for sha256 in digests_of(task):
                await store.delete(place_of(tenant_of[task["_id"]], task["_id"]), sha256)

    return delete


def place_of(tenant_id: str, task_id: str) -> str:
    """Where in the artifact store a task's blobs are; no tenant's own name has a slash."""
    return f"{tenant_id}/tasks/{task_id}"


def _check_names(name: str, media_type: str) -> None:
    if not _NAME.fullmatch(name):
        raise ArtifactRefused(f"artifact {name[:100]!r}: name it with letters, digits, `.`, `_` and `-` like a file")
    if not _MEDIA_TYPE.fullmatch(media_type):
        raise ArtifactRefused(f"artifact {name!r}: {media_type[:100]!r} is no media type such as image/svg+xml")
