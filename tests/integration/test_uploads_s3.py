"""Uploads to a bucket, over S3's protocol, spoken by moto in a process of its own."""

import asyncio
import hashlib
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from app.artifacts.checksum import ArtifactMismatch
from app.artifacts.store import LARGEST, PART, ArtifactNotFound, ArtifactStore, ArtifactTooLarge
from tests.integration.conftest import BUCKET

pytestmark = pytest.mark.long

PLACE = "acme/2026/11/21/an-upload/uploads"
LARGE = bytes(range(256)) * (2 * PART // 256 + 1)
DIGEST = hashlib.sha256(LARGE).hexdigest()


async def in_pieces(data: bytes, *, breaks_at: int | None = None) -> AsyncIterator[bytes]:
    for begin in range(0, len(data), 256 * 1024):
        if breaks_at is not None and begin >= breaks_at:
            raise ConnectionAbortedError("the client has gone")
        yield data[begin : begin + 256 * 1024]


def parts_of(bucket: Any) -> list[str]:
    """Uploads in parts that were neither completed nor given up."""
    return [one.object_key for one in bucket.multipart_uploads.all()]


async def test_a_large_upload_is_kept_whole_with_its_media_type(bucket: Any) -> None:
    store = ArtifactStore(f"s3://{BUCKET}/prefix")

    await store.put_stream(PLACE, in_pieces(LARGE), sha256=DIGEST, size=len(LARGE), media_type="text/csv")
    empty = hashlib.sha256(b"").hexdigest()
    await store.put_stream(PLACE, in_pieces(b""), sha256=empty, size=0, media_type="text/plain")
    url = await store.sign(PLACE, DIGEST, expires_in=timedelta(minutes=1))
    async with httpx.AsyncClient(trust_env=False) as client:
        answer = await client.get(url)

    assert {found.key for found in bucket.objects.all()} == {f"prefix/{PLACE}/{DIGEST}", f"prefix/{PLACE}/{empty}"}
    assert (answer.content, answer.headers["content-type"]) == (LARGE, "text/csv")
    assert await store.get(PLACE, DIGEST) == LARGE
    assert await store.get(PLACE, empty) == b""
    await store.delete_all(PLACE)
    assert list(bucket.objects.all()) == []


@pytest.mark.parametrize("ended_by", ["a wrong digest", "a broken connection", "being cancelled"])
async def test_what_ends_early_leaves_neither_a_blob_nor_parts(bucket: Any, ended_by: str) -> None:
    store, stalled = ArtifactStore(f"s3://{BUCKET}"), asyncio.Event()

    async def stalling() -> AsyncIterator[bytes]:
        async for piece in in_pieces(LARGE):
            yield piece
        stalled.set()
        await asyncio.Event().wait()

    pieces = {
        "a wrong digest": in_pieces(LARGE[1:] + b"y"),
        "a broken connection": in_pieces(LARGE, breaks_at=len(LARGE) - PART),
        "being cancelled": stalling(),
    }[ended_by]
    sending = asyncio.create_task(
        store.put_stream(PLACE, pieces, sha256=DIGEST, size=len(LARGE), media_type="text/csv")
    )
    if ended_by == "being cancelled":
        await stalled.wait()
        begun = parts_of(bucket)
        sending.cancel()
        assert begun == [f"{PLACE}/{DIGEST}"]

    (outcome,) = await asyncio.gather(sending, return_exceptions=True)

    assert isinstance(outcome, BaseException)
    assert isinstance(outcome, ArtifactMismatch) == (ended_by == "a wrong digest")
    assert (list(bucket.objects.all()), parts_of(bucket)) == ([], [])
    with pytest.raises(ArtifactNotFound):
        await store.get(PLACE, DIGEST)


async def test_what_no_bucket_takes_in_one_piece_is_refused_unread(tmp_path: Path) -> None:
    store = ArtifactStore(str(tmp_path))

    with pytest.raises(ArtifactTooLarge):
        await store.put_stream(PLACE, in_pieces(LARGE), sha256=DIGEST, size=LARGEST + 1, media_type="text/csv")
