"""The artifact store over S3's protocol, spoken by moto in a process of its own."""

from collections.abc import Iterator, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

import boto3
import httpx
import pytest

from app.artifacts.store import (
    CHECKED_AT_ONCE,
    ArtifactCorrupt,
    ArtifactNotFound,
    ArtifactStore,
    ArtifactStoreUnavailable,
)
from app.tasks.artifacts import ArtifactService, place_of
from tests.job_builders import TENANT
from tests.processes import Server, start_moto

pytestmark = pytest.mark.slow

DATA = b"what an agent made"
BUCKET = "artifacts"


@pytest.fixture(scope="module")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    server = start_moto(tmp_path_factory.mktemp("moto"))
    yield server
    server.process.stop()


@pytest.fixture
def bucket(s3: Server, monkeypatch: pytest.MonkeyPatch) -> Any:
    """An empty bucket that the variables of AWS lead to."""
    for name, value in {
        "AWS_ENDPOINT_URL": s3.http_url,
        "AWS_ALLOW_HTTP": "true",
        "AWS_ACCESS_KEY_ID": "key",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_DEFAULT_REGION": "eu-central-1",
    }.items():
        monkeypatch.setenv(name, value)
    client = boto3.resource("s3", endpoint_url=s3.http_url, region_name="eu-central-1")
    found = client.Bucket(BUCKET)
    found.create(CreateBucketConfiguration={"LocationConstraint": "eu-central-1"})
    yield found
    found.objects.all().delete()
    found.delete()


async def test_a_blob_is_stored_once_under_its_digest_with_its_media_type(bucket: Any) -> None:
    artifacts = ArtifactStore(f"s3://{BUCKET}/some/prefix")

    stored = await artifacts.put(TENANT, DATA, "text/plain")
    again = await artifacts.put(TENANT, DATA, "text/html")

    (found,) = bucket.objects.all()
    assert found.key == f"some/prefix/{TENANT}/sha256/{stored.sha256[:2]}/{stored.sha256}"
    assert found.Object().content_type == "text/plain"
    assert again == stored
    assert await artifacts.get(TENANT, stored.sha256) == DATA


async def test_a_blob_that_was_changed_or_deleted_is_not_handed_out(bucket: Any) -> None:
    artifacts = ArtifactStore(f"s3://{BUCKET}")
    stored = await artifacts.put(TENANT, DATA, "text/plain")
    (found,) = bucket.objects.all()
    found.put(Body=b"what somebody else made")

    with pytest.raises(ArtifactCorrupt):
        await artifacts.get(TENANT, stored.sha256)
    await artifacts.delete(TENANT, stored.sha256)
    with pytest.raises(ArtifactNotFound):
        await artifacts.get(TENANT, stored.sha256)


async def test_a_large_blob_comes_in_pieces_and_breaks_off_when_it_was_changed(bucket: Any) -> None:
    artifacts, large = ArtifactStore(f"s3://{BUCKET}"), b"x" * (CHECKED_AT_ONCE + 1)
    stored = await artifacts.put(TENANT, large, "text/plain")

    whole = [piece async for piece in await artifacts.stream(TENANT, stored.sha256, size=stored.size)]
    (found,) = bucket.objects.all()
    found.put(Body=large[1:] + b"y")
    changed = await artifacts.stream(TENANT, stored.sha256, size=stored.size)

    assert b"".join(whole) == large
    with pytest.raises(ArtifactCorrupt):
        [piece async for piece in changed]


async def test_whoever_has_a_signed_link_can_download_what_it_was_signed_for(bucket: Any) -> None:
    artifacts = ArtifactStore(f"s3://{BUCKET}")
    stored = await artifacts.put(TENANT, DATA, "text/plain")

    url = await artifacts.sign(TENANT, stored.sha256, expires_in=timedelta(minutes=1))
    async with httpx.AsyncClient(trust_env=False) as client:
        answer = await client.get(url)

    assert (answer.content, answer.headers["content-type"]) == (DATA, "text/plain")
    assert "X-Amz-Signature" in url
    with pytest.raises(ArtifactNotFound):
        await artifacts.sign(TENANT, "0" * 64, expires_in=timedelta(minutes=1))


async def test_a_link_is_signed_only_for_what_the_tasks_result_has(bucket: Any) -> None:
    store = ArtifactStore(f"s3://{BUCKET}")
    stored = await store.put(place_of(TENANT, "t1"), DATA, "text/plain")
    other = await store.put(place_of(TENANT, "t1"), b"not in the result", "text/plain")
    named = {"name": "made.txt", "media_type": "text/plain", "sha256": stored.sha256, "size": stored.size}

    async def get_task(_tenant_id: str, _task_id: str) -> Mapping[str, Any]:
        return {"result": {"artifacts": [named]}}

    service = ArtifactService(store, get_task)
    url = await service.sign(TENANT, "t1", stored.sha256, expires_in=timedelta(minutes=1))

    async with httpx.AsyncClient(trust_env=False) as client:
        assert (await client.get(url)).content == DATA
    with pytest.raises(ArtifactNotFound):
        await service.sign(TENANT, "t1", other.sha256, expires_in=timedelta(minutes=1))


async def test_a_store_that_cannot_be_reached_is_worth_another_attempt(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    gone = start_moto(tmp_path)
    gone.process.stop()
    for name, value in {
        "AWS_ENDPOINT_URL": gone.http_url,
        "AWS_ALLOW_HTTP": "true",
        "AWS_ACCESS_KEY_ID": "key",
        "AWS_SECRET_ACCESS_KEY": "secret",
    }.items():
        monkeypatch.setenv(name, value)

    with pytest.raises(ArtifactStoreUnavailable):
        await ArtifactStore(f"s3://{BUCKET}").put(TENANT, DATA, "text/plain")
