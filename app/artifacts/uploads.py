"""Takes what clients upload: streamed, checked on its way, and seen by nobody before it is whole.

An upload is noted first, then its blob is written to a place that no other upload has, then the note becomes the
artifact by one conditional write. Whatever is given up in between is removed at once, or by the upkeep after a crash.
"""

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from app.artifacts.checksum import Checksum
from app.artifacts.models import GRACE, Upload, longest_upload
from app.artifacts.repository import UploadRepository
from app.artifacts.retention import remove
from app.artifacts.store import ArtifactNotFound, ArtifactStore
from app.clock import Clock
from app.errors import Conflict, OrchestratorError, Unavailable
from app.http.body_limit import SlowBody
from app.http.pagination import MOST_COUNTED, Page, PageParams
from app.ids import new_id
from app.jobs.retention import UnderLegalHold

# Of one process: each holds a few parts of its artifact in memory. One tenant leaves room for others.
UPLOADS_AT_ONCE = 16
OF_ONE_TENANT = 8

# Keeps what was done: the tenant, the kind of act, who, to what, and the details.
RecordAct = Callable[[str, str, str, Mapping[str, str], Mapping[str, Any]], Awaitable[None]]
AroundAct = Callable[[str, str, str, Mapping[str, str], Mapping[str, Any]], AbstractAsyncContextManager[dict[str, Any]]]


class ArtifactChanging(Conflict):
    code = "ARTIFACT_CHANGING"
    title = "Artifact is being deleted"


@dataclass(frozen=True, slots=True)
class Announced:
    """What a client says of an artifact before it sends it; ``size`` is in bytes."""

    sha256: str
    size: int
    media_type: str
    name: str


class UploadService:
    def __init__(
        self,
        store: ArtifactStore,
        repository: UploadRepository,
        *,
        lifetime: timedelta | None,
        record: RecordAct,
        around: AroundAct,
        clock: Clock,
    ) -> None:
        """Uploads are kept for ``lifetime`` after they were sent last, without one for ever.

        ``around`` is for acts whose trace must not be lost.
        """
        self._store = store
        self._repository = repository
        self._lifetime = lifetime
        self._record = record
        self._around = around
        self._clock = clock
        self._running = Counter[str]()

    async def put(
        self, tenant_id: str, announced: Announced, pieces: AsyncIterable[bytes], *, by: str
    ) -> tuple[Upload, bool]:
        """Keep what arrives; True when the tenant had no such upload before. One that it had stays as it is.

        Raises `SlowBody`, `ArtifactChanging`, or what `ArtifactStore.put_stream` raises.
        """
        async with self._bounded(tenant_id, longest_upload(announced.size)):
            known = await self._repository.find(tenant_id, announced.sha256)
            if known is None:
                return await self._take(self._new(tenant_id, announced, by), pieces)
            # It is read all the same: the answer says that what was sent is what is there.
            checksum = Checksum(announced.sha256, announced.size)
            async for piece in pieces:
                checksum.update(piece)
            checksum.verify()
            return await self._again(known), False

    async def list_page(self, tenant_id: str, params: PageParams) -> Page[Upload]:
        """Newest first."""
        end = params.page_size + 1
        found = await self._repository.list_newest(tenant_id, limit=end, skip=params.skip, after=params.after)
        return Page.of(found, params, total=await self._repository.count(tenant_id, limit=MOST_COUNTED))

    async def delete(self, tenant_id: str, sha256: str, *, by: str) -> None:
        """Raises `ArtifactNotFound` and `UnderLegalHold`."""
        upload = await self._get(tenant_id, sha256)
        async with self._around(tenant_id, "artifact.deleted", by, {"artifact": sha256}, {"name": upload.name}):
            if not await self._repository.begin_deletion(upload, now=self._clock()):
                # Another request may have been faster.
                await self._get(tenant_id, sha256)
                raise UnderLegalHold(f"artifact {sha256} is under legal hold; release it first", sha256=sha256)
        await self._remove(upload)

    async def _get(self, tenant_id: str, sha256: str) -> Upload:
        upload = await self._repository.find(tenant_id, sha256)
        if upload is None:
            raise ArtifactNotFound(f"no upload {sha256[:64]!r}; what tasks and executions have goes with them")
        return upload

    def _new(self, tenant_id: str, announced: Announced, by: str) -> Upload:
        now = self._clock()
        return Upload(
            id=new_id(),
            tenant_id=tenant_id,
            sha256=announced.sha256,
            size=announced.size,
            media_type=announced.media_type,
            name=announced.name,
            created_at=now,
            created_by=by,
            expires_at=None if self._lifetime is None else now + self._lifetime,
        )

    async def _take(self, upload: Upload, pieces: AsyncIterable[bytes]) -> tuple[Upload, bool]:
        await self._repository.note(upload, until=self._clock() + longest_upload(upload.size) + GRACE)
        try:
            await self._store.put_stream(
                upload.place, pieces, sha256=upload.sha256, size=upload.size, media_type=upload.media_type
            )
            is_kept = await self._repository.keep(upload)
        except BaseException:
            await self._give_up(upload)
            raise
        if not is_kept:
            # Another request was faster with the same.
            await self._give_up(upload)
            return await self._again(await self._repository.find(upload.tenant_id, upload.sha256)), False
        what = {"name": upload.name, "size": upload.size, "media_type": upload.media_type}
        await self._record(upload.tenant_id, "artifact.uploaded", upload.created_by, {"artifact": upload.sha256}, what)
        return upload, True

    async def _give_up(self, upload: Upload) -> None:
        # What was asked of the store last may have been done although no answer came: it may be kept.
        with contextlib.suppress(OrchestratorError):
            if await self._repository.give_up(upload, now=self._clock()):
                await self._remove(upload)

    async def _remove(self, upload: Upload) -> None:
        # What this cannot do now is left to the upkeep.
        with contextlib.suppress(OrchestratorError):
            await remove(upload, self._store, self._repository)

    async def _again(self, known: Upload | None) -> Upload:
        expires_at = None if self._lifetime is None else self._clock() + self._lifetime
        if known is not None and known.expires_at is None:
            expires_at = None
        found = known and await self._repository.prolong(known, expires_at)
        if found is None:
            raise ArtifactChanging("the artifact was deleted while it was being sent; send it once more")
        return found

    @asynccontextmanager
    async def _bounded(self, tenant_id: str, longest: timedelta) -> AsyncIterator[None]:
        if self._running[tenant_id] >= OF_ONE_TENANT or self._running.total() >= UPLOADS_AT_ONCE:
            raise Unavailable("too many uploads at once; try again in a moment", retry_after=timedelta(seconds=2))
        self._running[tenant_id] += 1
        try:
            async with asyncio.timeout(longest.total_seconds()):
                yield
        except TimeoutError:
            raise SlowBody("the artifact did not arrive in time; nothing of it was kept") from None
        finally:
            self._running[tenant_id] -= 1
            # What is not there counts as nothing, and takes no memory.
            self._running += Counter()
