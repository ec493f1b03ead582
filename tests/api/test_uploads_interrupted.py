"""What remains of uploads whose process died, stood still or lost the store in the middle: all of it, or nothing."""

import hashlib
from collections import Counter
from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from app.artifacts.models import Upload
from app.artifacts.repository import COLLECTION, UploadRepository
from app.artifacts.retention import UploadRetention
from app.artifacts.store import ArtifactNotFound
from app.artifacts.uploads import OF_ONE_TENANT, UPLOADS_AT_ONCE, Announced, ArtifactChanging, UploadService
from app.bootstrap.artifacts import build_upload_repository, build_upload_retention
from app.bootstrap.uploads import build_uploads
from app.database.errors import StoreUnavailable
from app.errors import Unavailable
from app.ids import new_id
from tests.api.conftest import StartApi
from tests.api.harness import Api, problem_of

CSV = b"region,amount\nnorth,10\n"
DIGEST = hashlib.sha256(CSV).hexdigest()
ANNOUNCED = Announced(DIGEST, len(CSV), "text/csv", "sales.csv")
PATH = f"/v1/artifacts/{DIGEST}"
TENANT = "default"
MUCH_LATER = timedelta(hours=1)
KEYS = "key-of-boss:default:admin"


@pytest.fixture
async def kept(start_api: StartApi, tmp_path: Path) -> AsyncIterator[Api]:
    async with start_api(artifact_store=str(tmp_path)) as api:
        yield api


async def whole() -> AsyncIterator[bytes]:
    yield CSV


def retention_after(api: Api, time: timedelta) -> UploadRetention:
    """The upkeep, so much later."""
    retention = build_upload_retention(api.core)
    retention._clock = lambda: api.core.clock() + time
    return retention


def files_of(folder: Path) -> list[Path]:
    return [one for one in folder.rglob("*") if one.is_file()]


async def left_in(api: Api, folder: Path) -> tuple[list[Path], int]:
    return files_of(folder), await api.core.documents(COLLECTION).count({}, limit=100)


def upload_of(api: Api) -> Upload:
    return Upload(
        id=new_id(),
        tenant_id=TENANT,
        sha256=DIGEST,
        size=len(CSV),
        media_type="text/csv",
        name="sales.csv",
        created_at=api.core.clock(),
        created_by="key",
    )


async def test_what_a_killed_process_wrote_is_removed_when_its_time_has_passed(kept: Api, tmp_path: Path) -> None:
    upload, repository = upload_of(kept), build_upload_repository(kept.core)
    await repository.note(upload, until=kept.core.clock() + timedelta(minutes=10))
    folder = tmp_path / upload.place
    folder.mkdir(parents=True)
    (folder / f"{DIGEST}#1").write_bytes(CSV[:10])
    (folder / DIGEST).write_bytes(CSV)

    early = await retention_after(kept, timedelta(minutes=9)).delete_due()
    unseen = await kept.get(PATH)
    late = await retention_after(kept, MUCH_LATER).delete_due()

    problem_of(unseen, 404, "ARTIFACT_NOT_FOUND")
    assert (early, late) == (0, 1)
    assert await left_in(kept, tmp_path) == ([], 0)


async def test_of_two_deletions_at_once_one_finds_nothing(kept: Api) -> None:
    class Contended(UploadRepository):
        async def begin_deletion(self, upload: Upload, *, now: datetime) -> bool:
            assert await UploadRepository.begin_deletion(self, upload, now=now)
            return await UploadRepository.begin_deletion(self, upload, now=now)

    service = build_uploads(kept.core)
    await service.put(TENANT, ANNOUNCED, whole(), by="key")
    service._repository = Contended(kept.core.documents(COLLECTION))

    with pytest.raises(ArtifactNotFound):
        await service.delete(TENANT, DIGEST, by="key")


async def test_a_deletion_that_a_crash_interrupted_is_completed(kept: Api, tmp_path: Path) -> None:
    upload, _ = await build_uploads(kept.core).put(TENANT, ANNOUNCED, whole(), by="key")
    await build_upload_repository(kept.core).begin_deletion(upload, now=kept.core.clock())

    again, is_new = await build_uploads(kept.core).put(TENANT, ANNOUNCED, whole(), by="key")
    removed = await retention_after(kept, timedelta(seconds=1)).delete_due()

    assert (is_new, removed) == (True, 1)
    assert again.id != upload.id
    assert (await kept.get(PATH)).content == CSV


async def test_who_stood_still_until_the_upkeep_gave_up_keeps_nothing(kept: Api, tmp_path: Path) -> None:
    async def standing_still() -> AsyncIterator[bytes]:
        yield CSV[:10]
        assert await retention_after(kept, MUCH_LATER).delete_due() == 1
        yield CSV[10:]

    with pytest.raises(ArtifactChanging):
        await build_uploads(kept.core).put(TENANT, ANNOUNCED, standing_still(), by="key")

    problem_of(await kept.get(PATH), 404, "ARTIFACT_NOT_FOUND")
    assert await left_in(kept, tmp_path) == ([], 0)


async def test_an_answer_of_the_store_that_was_lost_costs_no_blob(kept: Api) -> None:
    class Forgetful(UploadRepository):
        async def keep(self, upload: Upload) -> bool:
            assert await UploadRepository.keep(self, upload)
            raise StoreUnavailable("it was done, but who knows")

    service = build_uploads(kept.core)
    service._repository = Forgetful(kept.core.documents(COLLECTION))

    with pytest.raises(StoreUnavailable):
        await service.put(TENANT, ANNOUNCED, whole(), by="key")

    assert (await kept.get(PATH)).content == CSV
    assert (await build_uploads(kept.core).put(TENANT, ANNOUNCED, whole(), by="key"))[1] is False


async def test_only_so_many_are_taken_at_once(kept: Api) -> None:
    service: UploadService = kept.app.state.uploads
    for running in ({TENANT: OF_ONE_TENANT}, {"other": OF_ONE_TENANT, "another": UPLOADS_AT_ONCE - OF_ONE_TENANT}):
        service._running = Counter(running)
        refused = await kept.client.put(PATH, content=CSV, headers={"Content-Type": "text/csv"})
        problem_of(refused, 503, Unavailable.code)
        assert refused.headers["retry-after"]

    service._running = Counter({TENANT: OF_ONE_TENANT - 1})
    taken = await kept.client.put(PATH, content=CSV, headers={"Content-Type": "text/csv"})
    assert taken.status_code == 201
    assert service._running == {TENANT: OF_ONE_TENANT - 1}


async def test_what_is_held_does_not_expire(start_api: StartApi, tmp_path: Path) -> None:
    boss = {"X-API-Key": "key-of-boss"}
    async with start_api(artifact_store=str(tmp_path), api_keys=KEYS, artifact_upload_retention_days=1) as api:
        await api.client.put(PATH, content=CSV, headers={"Content-Type": "text/csv", **boss})
        held = await api.client.put(f"{PATH}/legal-hold", json={"reason": "case 7"}, headers=boss)
        info = (await api.get(f"{PATH}/info", headers=boss)).json()
        refused = await api.client.delete(PATH, headers=boss)
        while_held = await retention_after(api, timedelta(days=2)).delete_due()
        await api.client.delete(f"{PATH}/legal-hold", headers=boss)
        after = await retention_after(api, timedelta(days=2)).delete_due()

        assert held.status_code == 200, held.text
        assert info["legal_hold"]["reason"] == "case 7"
        problem_of(refused, 409, "UNDER_LEGAL_HOLD")
        assert (while_held, after) == (0, 1)
        assert await left_in(api, tmp_path) == ([], 0)
