"""The artifact store over S3's protocol, spoken by moto in a process of its own."""

import json
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from app.artifacts.evidence import EvidenceStore
from app.artifacts.models import ArtifactKind
from app.artifacts.places import Part, place_of
from app.artifacts.store import (
    CHECKED_AT_ONCE,
    ArtifactCorrupt,
    ArtifactNotFound,
    ArtifactStore,
    ArtifactStoreUnavailable,
)
from app.ids import day_of, new_id
from app.tasks.artifacts import ArtifactService, kept_of
from tests.integration.conftest import BUCKET
from tests.job_builders import NOON, TENANT
from tests.processes import start_moto

pytestmark = pytest.mark.slow

DATA = b"what an agent made"


async def test_a_blob_is_stored_once_under_its_digest_with_its_media_type(bucket: Any) -> None:
    artifacts = ArtifactStore(f"s3://{BUCKET}/some/prefix")

    stored = await artifacts.put(TENANT, DATA, "text/plain")
    again = await artifacts.put(TENANT, DATA, "text/html")

    (found,) = bucket.objects.all()
    assert found.key == f"some/prefix/{TENANT}/{stored.sha256}"
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


async def test_a_place_is_below_its_day_and_goes_with_all_below_it(bucket: Any) -> None:
    artifacts, task_id, other = ArtifactStore(f"s3://{BUCKET}/some/prefix"), new_id(), new_id()
    evidence = EvidenceStore(artifacts, lambda data: data)
    entry = await evidence.put(
        place_of(TENANT, task_id, Part.EVALUATIONS),
        {"subject": {"task_id": task_id}},
        kind=ArtifactKind.EVALUATION,
        name="evaluation-1.json",
        at=NOON,
        attempt=1,
    )
    output = await artifacts.put(place_of(TENANT, task_id, Part.OUTPUTS), DATA, "text/plain")
    await artifacts.put(place_of(TENANT, other, Part.OUTPUTS), DATA, "text/plain")
    keys = {found.key: found.Object().content_type for found in bucket.objects.all()}

    found = kept_of({"_id": task_id, "tenant_id": TENANT, "evidence": [entry]})[0]
    pieces = [piece async for piece in await artifacts.stream(found.place, found.sha256, size=found.size)]
    url = await artifacts.sign(found.place, found.sha256, expires_in=timedelta(minutes=1))
    await artifacts.delete_all(place_of(TENANT, task_id))
    await artifacts.delete_all(place_of(TENANT, task_id))

    place = f"some/prefix/{TENANT}/{day_of(task_id)}/{task_id}"
    left = f"some/prefix/{TENANT}/{day_of(other)}/{other}/outputs/{output.sha256}"
    assert keys == {
        f"{place}/evaluations/{entry['sha256']}": "application/json",
        f"{place}/outputs/{output.sha256}": "text/plain",
        left: "text/plain",
    }
    assert json.loads(b"".join(pieces)) == {"version": 1, "subject": {"task_id": task_id}}
    assert f"/{place}/evaluations/" in url
    assert [one.key for one in bucket.objects.all()] == [left]


@pytest.mark.long
async def test_more_blobs_than_one_answer_lists_all_go(bucket: Any) -> None:
    artifacts = ArtifactStore(f"s3://{BUCKET}")
    for number in range(1100):
        bucket.put_object(Key=f"{TENANT}/2026/11/21/e1/outputs/{number:064x}", Body=b"")

    await artifacts.delete_all(f"{TENANT}/2026/11/21/e1")

    assert list(bucket.objects.all()) == []


async def test_a_link_is_signed_only_for_what_the_tasks_result_has(bucket: Any) -> None:
    store = ArtifactStore(f"s3://{BUCKET}")
    stored = await store.put(place_of(TENANT, "t1", Part.OUTPUTS), DATA, "text/plain")
    other = await store.put(place_of(TENANT, "t1", Part.OUTPUTS), b"not in the result", "text/plain")
    named = {"name": "made.txt", "media_type": "text/plain", "sha256": stored.sha256, "size": stored.size}

    async def get_task(_tenant_id: str, _task_id: str) -> Mapping[str, Any]:
        return {"_id": "t1", "tenant_id": TENANT, "result": {"artifacts": [named]}}

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
