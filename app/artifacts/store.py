"""Immutable blobs, named by their content, on a disk or in an S3 bucket.

A blob is at ``{place}/{digest}``; `places` says which places there are. What is there once is never written again, so
putting it twice is harmless, and each read is checked against the name.
"""

import asyncio
import contextlib
import hashlib
import os
import re
import shutil
from collections.abc import AsyncIterable, AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from functools import cached_property
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from urllib.request import url2pathname

import obstore
from obstore.exceptions import (
    AlreadyExistsError,
    BaseError,
    NotFoundError,
    PermissionDeniedError,
    UnauthenticatedError,
)
from obstore.store import LocalStore, S3Store

from app.artifacts.checksum import Checksum
from app.errors import Conflict, NotFound, OrchestratorError, Unavailable

_DIGEST = re.compile(r"[0-9a-f]{64}")
_LONGEST_CALL, _LONGEST_STREAM = timedelta(seconds=10), timedelta(hours=1)
# In bytes. What is not larger is read and checked as a whole before any of it is handed out.
CHECKED_AT_ONCE = 8 * 1024 * 1024
PIECE = 256 * 1024
# The least that S3 takes as a part of an upload; of all but the last.
PART = 5 * 1024 * 1024
# What S3 takes as one object without parts, and so what can be copied in one call.
LARGEST = 5 * 1024**3
# Each task leaves some blobs as small as this; the way to a thread and back costs more than to write one to a disk.
WRITTEN_AT_ONCE = 8 * 1024

ObjectStore = LocalStore | S3Store


class ArtifactNotFound(NotFound):
    code = "ARTIFACT_NOT_FOUND"
    title = "Artifact not found"


class ArtifactTooLarge(OrchestratorError):
    code = "ARTIFACT_TOO_LARGE"
    status = 413
    title = "Artifact too large"


class ArtifactCorrupt(OrchestratorError):
    """The stored bytes are not the ones that were put; nothing can bring those back."""

    code = "ARTIFACT_CORRUPT"
    title = "Artifact corrupt"


class ArtifactStoreUnavailable(Unavailable):
    code = "ARTIFACT_STORE_UNAVAILABLE"
    title = "Artifact store unavailable"


class ArtifactStoreRefused(OrchestratorError):
    """The store does not let us in; only somebody who changes its permissions can help."""

    code = "ARTIFACT_STORE_REFUSED"
    title = "Artifact store refused"


class LinksNotSupported(Conflict):
    code = "ARTIFACT_LINKS_NOT_SUPPORTED"
    title = "Artifact links not supported"


@dataclass(frozen=True, slots=True)
class ArtifactRef:
    """Where a blob is, within its tenant; ``size`` is in bytes."""

    sha256: str
    size: int


class ArtifactStore:
    """The blobs of all tenants; each call sees those of one. Nothing is opened before the first call."""

    def __init__(self, location: str) -> None:
        """``location`` is a path, `file:///…` or `s3://bucket/prefix`; S3 is reached as the `AWS_*` variables say."""
        self._location = location

    async def put(self, place: str, data: bytes, media_type: str) -> ArtifactRef:
        """Keep the blob; an equal one that is there already stays as it is, media type included.

        Raises `ArtifactStoreUnavailable` or `ArtifactStoreRefused`.
        """
        digest = hashlib.sha256(data).hexdigest()
        async with _translated(digest):
            with contextlib.suppress(AlreadyExistsError):
                await self._create(_path(place, digest), data, media_type)
        return ArtifactRef(digest, len(data))

    async def _create(self, path: str, data: bytes, media_type: str) -> None:
        objects = self._objects
        if isinstance(objects, S3Store):
            attributes = {"Content-Type": media_type}
            await obstore.put_async(objects, path, data, attributes=attributes, mode="create", use_multipart=False)
        elif len(data) <= WRITTEN_AT_ONCE:
            obstore.put(objects, path, data, mode="create", use_multipart=False)
        else:
            await obstore.put_async(objects, path, data, mode="create", use_multipart=False)

    async def put_stream(
        self, place: str, pieces: AsyncIterable[bytes], *, sha256: str, size: int, media_type: str
    ) -> ArtifactRef:
        """Keep a blob that comes in pieces, holding a few `PART` of it at most: whole and as announced, or not at all.

        Whatever ends it early, ``pieces`` and cancellation included, leaves nothing under its name; a process that is
        killed leaves what no reader sees, and `delete_all` of the place or the bucket's lifecycle rule removes. Only
        bytes with this digest can ever take the place of what is there. Raises `ArtifactTooLarge`,
        `ArtifactIncomplete`, `ArtifactMismatch`, or what ``pieces`` and `put` raise.
        """
        path, checksum = _path(place, sha256), Checksum(sha256, size)
        if size > LARGEST:
            raise ArtifactTooLarge(f"{size} bytes are too many: an artifact has at most {LARGEST}", max_bytes=LARGEST)
        async with (
            _translated(sha256),
            obstore.open_writer_async(
                self._unhurried,
                path,
                attributes={"Content-Type": media_type} if isinstance(self._objects, S3Store) else None,
                buffer_size=PART,
                max_concurrency=2,
            ) as writer,
        ):
            async for piece in pieces:
                checksum.update(piece)
                await writer.write(piece)
            # An error before the writer is closed makes it drop all that it wrote.
            checksum.verify()
        return ArtifactRef(sha256, size)

    async def get(self, place: str, sha256: str) -> bytes:
        """The blob as it was put. Raises `ArtifactNotFound`, `ArtifactCorrupt`, or what `put` raises."""
        async with _translated(sha256):
            answer = await obstore.get_async(self._objects, await self._real_path(place, sha256))
            data = bytes(await answer.bytes_async())
        if hashlib.sha256(data).hexdigest() != sha256:
            raise _corrupt(sha256)
        return data

    async def stream(self, place: str, sha256: str, *, size: int) -> AsyncIterator[bytes]:
        """Its bytes in pieces, for whoever would not hold it in memory; ``size`` is what it has to have.

        Raises as `get`, before there is any piece. What is found out only while reading, at a blob of more than
        `CHECKED_AT_ONCE`, is raised instead of the last piece.
        """
        if size <= CHECKED_AT_ONCE:
            return _pieces([await self.get(place, sha256)])
        async with _translated(sha256):
            answer = await obstore.get_async(self._unhurried, await self._real_path(place, sha256))
        if answer.meta["size"] != size:
            raise _corrupt(sha256)
        return _checked(answer.stream(min_chunk_size=PIECE), sha256)

    async def sign(self, place: str, sha256: str, *, expires_in: timedelta) -> str:
        """A URL that anybody can read the blob at for a while, without this product. Raises `ArtifactNotFound`,
        `LinksNotSupported` on a disk, or what `put` raises.
        """
        path = _path(place, sha256)
        if not isinstance(self._objects, S3Store):
            raise LinksNotSupported("artifacts are kept on a disk here, where links cannot be signed; download it")
        async with _translated(sha256):
            await obstore.head_async(self._objects, path)
            return str(await obstore.sign_async(self._objects, "GET", path, expires_in))

    async def delete(self, place: str, sha256: str) -> None:
        """Remove the blob for everybody; one that is not there is no error."""
        async with _translated(sha256):
            with contextlib.suppress(NotFoundError, FileNotFoundError):
                await obstore.delete_async(self._objects, _path(place, sha256))

    async def delete_all(self, place: str) -> None:
        """Remove every blob of this place and of those below it; none is no error."""
        async with _translated(place):
            if self._folder is not None:
                await asyncio.to_thread(_delete_folder, self._folder, place)
                return
            async for found in obstore.list(self._objects, prefix=place):
                await obstore.delete_async(self._objects, [one["path"] for one in found])

    async def _real_path(self, place: str, sha256: str) -> str:
        """On a disk a link is no blob, wherever it leads: it would be read before its content is known."""
        path = _path(place, sha256)
        if self._folder is not None and not await asyncio.to_thread(_is_below, self._folder, path):
            raise _corrupt(sha256)
        return path

    @cached_property
    def _objects(self) -> ObjectStore:
        return self._opened(_LONGEST_CALL)

    @cached_property
    def _unhurried(self) -> ObjectStore:
        # A call ends with its last byte, which waits for the slowest of readers.
        return self._opened(_LONGEST_STREAM)

    def _opened(self, longest_call: timedelta) -> ObjectStore:
        if self._folder is None:
            parts = urlsplit(self._location)
            return S3Store(
                parts.netloc,
                prefix=parts.path.strip("/") or None,
                client_options={
                    "timeout": longest_call,
                    "connect_timeout": timedelta(seconds=3),
                    # The one variable that the library no longer looks at when it is given options.
                    "allow_http": os.environ.get("AWS_ALLOW_HTTP", "").lower() == "true",
                },
                retry_config={"max_retries": 2, "retry_timeout": _LONGEST_CALL},
            )
        # What is deleted may leave no folder behind, or there would be one for each day and task.
        return LocalStore(self._folder, mkdir=True, automatic_cleanup=True)

    @cached_property
    def _folder(self) -> Path | None:
        """None in a bucket."""
        parts = urlsplit(self._location)
        if parts.scheme == "s3":
            return None
        return Path(url2pathname(parts.path) if parts.scheme == "file" else self._location).absolute()


def _path(place: str, sha256: str) -> str:
    if not _DIGEST.fullmatch(sha256):
        raise ArtifactNotFound(f"{sha256[:80]!r} is not a SHA-256 digest in hexadecimal")
    return f"{place}/{sha256}"


def _is_below(folder: Path, path: str) -> bool:
    return (folder / path).resolve() == folder.resolve() / path


def _delete_folder(folder: Path, place: str) -> None:
    """With the folders above that are empty then. Links are removed and never followed."""
    if not _is_below(folder, place):
        raise ArtifactStoreRefused(f"{place} leads out of the artifact store: remove the link that stands there")
    with contextlib.suppress(FileNotFoundError):
        shutil.rmtree(folder / place, onerror=_unless_gone)
    for parent in (folder / place).relative_to(folder).parents[:-1]:
        try:
            (folder / parent).rmdir()
        except FileNotFoundError:
            continue
        except OSError:
            break


def _unless_gone(_function: Any, _path: str, error: Any) -> None:
    """Another process may delete the same."""
    if not isinstance(error[1], FileNotFoundError):
        raise error[1]


def _corrupt(sha256: str) -> ArtifactCorrupt:
    return ArtifactCorrupt(f"artifact {sha256} does not have the content it is named after", sha256=sha256)


async def _pieces(pieces: Iterable[bytes]) -> AsyncIterator[bytes]:
    for piece in pieces:
        yield piece


async def _checked(pieces: AsyncIterable[Any], sha256: str) -> AsyncIterator[bytes]:
    """The last piece is held back until all are known to be right: who gets less than announced knows it is broken."""
    seen, held = hashlib.sha256(), b""
    async with _translated(sha256):
        async for piece in pieces:
            if held:
                yield held
            held = bytes(piece)
            seen.update(held)
    if seen.hexdigest() != sha256:
        raise _corrupt(sha256)
    yield held


@asynccontextmanager
async def _translated(sha256: str) -> AsyncIterator[None]:
    try:
        yield
    except (NotFoundError, FileNotFoundError) as error:
        raise ArtifactNotFound(f"no artifact {sha256}", sha256=sha256) from error
    except (PermissionDeniedError, UnauthenticatedError, PermissionError) as error:
        raise ArtifactStoreRefused("the artifact store refuses access: check ARTIFACT_STORE and its rights") from error
    except (BaseError, OSError) as error:
        raise ArtifactStoreUnavailable(
            "the artifact store does not answer; try again in a moment", retry_after=timedelta(seconds=2)
        ) from error
