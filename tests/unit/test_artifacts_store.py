import hashlib
from pathlib import Path

import pytest

from app.artifacts.store import ArtifactCorrupt, ArtifactNotFound, ArtifactStore, ArtifactStoreUnavailable
from tests.job_builders import OTHER_TENANT, TENANT

DATA = b"what an agent made"
DIGEST = hashlib.sha256(DATA).hexdigest()


@pytest.fixture
def artifacts(tmp_path: Path) -> ArtifactStore:
    return ArtifactStore(str(tmp_path))


def file_of(folder: Path) -> Path:
    return folder / TENANT / "sha256" / DIGEST[:2] / DIGEST


@pytest.mark.parametrize("spelled", [str, Path.as_uri])
async def test_a_blob_is_stored_under_its_digest_and_read_back(tmp_path: Path, spelled: object) -> None:
    artifacts = ArtifactStore(spelled(tmp_path / "a folder"))  # type: ignore[operator]

    stored = await artifacts.put(TENANT, DATA, "text/plain")

    assert (stored.sha256, stored.size) == (DIGEST, len(DATA))
    assert await artifacts.get(TENANT, DIGEST) == DATA
    assert file_of(tmp_path / "a folder").read_bytes() == DATA


async def test_a_blob_that_is_there_is_never_written_again(artifacts: ArtifactStore, tmp_path: Path) -> None:
    await artifacts.put(TENANT, DATA, "text/plain")
    before = file_of(tmp_path).stat()

    again = await artifacts.put(TENANT, DATA, "text/plain")

    after = file_of(tmp_path).stat()
    assert again.sha256 == DIGEST
    assert (after.st_ino, after.st_mtime_ns) == (before.st_ino, before.st_mtime_ns)


async def test_a_blob_that_was_changed_is_not_handed_out(artifacts: ArtifactStore, tmp_path: Path) -> None:
    await artifacts.put(TENANT, DATA, "text/plain")
    file_of(tmp_path).write_bytes(b"what somebody else made")

    with pytest.raises(ArtifactCorrupt, match=DIGEST):
        await artifacts.get(TENANT, DIGEST)


async def test_tenants_do_not_see_each_others_blobs(artifacts: ArtifactStore) -> None:
    await artifacts.put(TENANT, DATA, "text/plain")

    with pytest.raises(ArtifactNotFound):
        await artifacts.get(OTHER_TENANT, DIGEST)
    await artifacts.delete(OTHER_TENANT, DIGEST)

    assert await artifacts.get(TENANT, DIGEST) == DATA


async def test_a_deleted_blob_is_gone_and_may_be_deleted_again(artifacts: ArtifactStore) -> None:
    await artifacts.put(TENANT, DATA, "text/plain")

    await artifacts.delete(TENANT, DIGEST)
    await artifacts.delete(TENANT, DIGEST)

    with pytest.raises(ArtifactNotFound):
        await artifacts.get(TENANT, DIGEST)


@pytest.mark.parametrize("name", ["", "../../etc/passwd", DIGEST.upper(), f"{DIGEST}0"])
async def test_what_is_no_digest_names_no_blob(artifacts: ArtifactStore, name: str) -> None:
    with pytest.raises(ArtifactNotFound):
        await artifacts.get(TENANT, name)


async def test_an_empty_blob_is_one_too(artifacts: ArtifactStore) -> None:
    stored = await artifacts.put(TENANT, b"", "text/plain")

    assert await artifacts.get(TENANT, stored.sha256) == b""


async def test_a_folder_that_cannot_be_made_is_worth_another_attempt(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    artifacts = ArtifactStore(str(tmp_path / "file" / "artifacts"))

    with pytest.raises(ArtifactStoreUnavailable) as caught:
        await artifacts.put(TENANT, DATA, "text/plain")

    assert caught.value.retryable
