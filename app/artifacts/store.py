"""Immutable blobs, named by their content, on a disk or in an S3 bucket.

A blob is at ``{tenant}/sha256/{first two digits}/{digest}``. What is there once is never written again, so putting it
twice is harmless, and each read is checked against the name.
"""

import contextlib
import hashlib
import os
import re
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

from app.errors import Conflict, NotFound, OrchestratorError, Unavailable

_DIGEST = re.compile(r"[0-9a-f]{64}")
_LONGEST_CALL, _LONGEST_STREAM = timedelta(seconds=10), timedelta(hours=1)
# In bytes. What is not larger is read and checked as a whole before any of it is handed out.
CHECKED_AT_ONCE = 8 * 1024 * 1024
PIECE = 256 * 1024

ObjectStore = LocalStore | S3Store


class ArtifactNotFound(NotFound):
    code = "ARTIFACT_NOT_FOUND"
    title = "Artifact not found"


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

    async def put(self, tenant_id: str, data: bytes, media_type: str) -> ArtifactRef:
        """Keep the blob; an equal one that is there already stays as it is, media type included.

        Raises `ArtifactStoreUnavailable` or `ArtifactStoreRefused`.
        """
        digest = hashlib.sha256(data).hexdigest()
        async with _translated(digest):
            with contextlib.suppress(AlreadyExistsError):
                await obstore.put_async(
                    self._objects,
                    _path(tenant_id, digest),
                    data,
                    # The disk has no place for the media type.
                    attributes={"Content-Type": media_type} if isinstance(self._objects, S3Store) else None,
                    mode="create",
                    use_multipart=False,
                )
        return ArtifactRef(digest, len(data))

    async def get(self, tenant_id: str, sha256: str) -> bytes:
        """The blob as it was put. Raises `ArtifactNotFound`, `ArtifactCorrupt`, or what `put` raises."""
        async with _translated(sha256):
            answer = await obstore.get_async(self._objects, _path(tenant_id, sha256))
            data = bytes(await answer.bytes_async())
        if hashlib.sha256(data).hexdigest() != sha256:
            raise _corrupt(sha256)
        return data

    async def stream(self, tenant_id: str, sha256: str, *, size: int) -> AsyncIterator[bytes]:
        """Its bytes in pieces, for whoever would not hold it in memory; ``size`` is what it has to have.

        Raises as `get`, before there is any piece. What is found out only while reading, at a blob of more than
        `CHECKED_AT_ONCE`, is raised instead of the last piece.
        """
        if size <= CHECKED_AT_ONCE:
            return _pieces([await self.get(tenant_id, sha256)])
        async with _translated(sha256):
            answer = await obstore.get_async(self._unhurried, _path(tenant_id, sha256))
        if answer.meta["size"] != size:
            raise _corrupt(sha256)
        return _checked(answer.stream(min_chunk_size=PIECE), sha256)

    async def sign(self, tenant_id: str, sha256: str, *, expires_in: timedelta) -> str:
        """A URL that anybody can read the blob at for a while, without this product. Raises `ArtifactNotFound`,
        `LinksNotSupported` on a disk, or what `put` raises.
        """
        path = _path(tenant_id, sha256)
        if not isinstance(self._objects, S3Store):
            raise LinksNotSupported("artifacts are kept on a disk here, where links cannot be signed; download it")
        async with _translated(sha256):
            await obstore.head_async(self._objects, path)
            return str(await obstore.sign_async(self._objects, "GET", path, expires_in))

    async def delete(self, tenant_id: str, sha256: str) -> None:
        """Remove the blob for everybody in the tenant; one that is not there is no error."""
        async with _translated(sha256):
            with contextlib.suppress(NotFoundError, FileNotFoundError):
                await obstore.delete_async(self._objects, _path(tenant_id, sha256))

    async def delete_all(self, tenant_id: str) -> None:
        """Remove every blob of this place, for one that holds few."""
        async with _translated(tenant_id):
            async for found in obstore.list(self._objects, prefix=f"{tenant_id}/sha256"):
                await obstore.delete_async(self._objects, [one["path"] for one in found])

    @cached_property
    def _objects(self) -> ObjectStore:
        return self._opened(_LONGEST_CALL)

    @cached_property
    def _unhurried(self) -> ObjectStore:
        # A call ends with its last byte, which waits for the slowest of readers.
        return self._opened(_LONGEST_STREAM)

    def _opened(self, longest_call: timedelta) -> ObjectStore:
        parts = urlsplit(self._location)
        if parts.scheme == "s3":
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
        folder = url2pathname(parts.path) if parts.scheme == "file" else self._location
        return LocalStore(Path(folder).absolute(), mkdir=True)


def _path(tenant_id: str, sha256: str) -> str:
    if not _DIGEST.fullmatch(sha256):
        raise ArtifactNotFound(f"{sha256[:80]!r} is not a SHA-256 digest in hexadecimal")
    return f"{tenant_id}/sha256/{sha256[:2]}/{sha256}"


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
