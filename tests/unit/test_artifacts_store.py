import asyncio
import hashlib
from datetime import timedelta
from pathlib import Path

import pytest

from app.artifacts.store import (
    CHECKED_AT_ONCE,
    ArtifactCorrupt,
    ArtifactNotFound,
    ArtifactStore,
    ArtifactStoreRefused,
    ArtifactStoreUnavailable,
    LinksNotSupported,
)
from tests.job_builders import OTHER_TENANT, TENANT

DATA = b"what an agent made"
DIGEST = hashlib.sha256(DATA).hexdigest()


@pytest.fixture
def artifacts(tmp_path: Path) -> ArtifactStore:
    return ArtifactStore(str(tmp_path))


def file_of(folder: Path) -> Path:
    return folder / TENANT / DIGEST


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


async def test_a_large_blob_comes_in_pieces_and_is_what_was_put(artifacts: ArtifactStore) -> None:
    large = bytes(range(256)) * (CHECKED_AT_ONCE // 256 + 1)
    stored = await artifacts.put(TENANT, large, "text/plain")

    pieces = [piece async for piece in await artifacts.stream(TENANT, stored.sha256, size=stored.size)]

    assert len(pieces) > 1
    assert b"".join(pieces) == large


async def test_a_large_blob_that_was_changed_breaks_off_before_its_end(
    artifacts: ArtifactStore, tmp_path: Path
) -> None:
    large = b"x" * (CHECKED_AT_ONCE + 1)
    stored = await artifacts.put(TENANT, large, "text/plain")
    file = tmp_path / TENANT / stored.sha256
    file.write_bytes(b"y" + large[1:])

    pieces = await artifacts.stream(TENANT, stored.sha256, size=stored.size)
    first = await anext(pieces)

    assert first.startswith(b"yx")
    with pytest.raises(ArtifactCorrupt):
        [piece async for piece in pieces]


@pytest.mark.parametrize("size", [10, CHECKED_AT_ONCE + 10])
async def test_a_blob_of_another_length_is_refused_before_any_of_it_is_read(
    artifacts: ArtifactStore, tmp_path: Path, size: int
) -> None:
    stored = await artifacts.put(TENANT, b"x" * size, "text/plain")
    (tmp_path / TENANT / stored.sha256).write_bytes(b"x")

    with pytest.raises(ArtifactCorrupt):
        await artifacts.stream(TENANT, stored.sha256, size=size)


async def test_a_blob_that_is_not_there_cannot_be_streamed(artifacts: ArtifactStore) -> None:
    for size in (1, CHECKED_AT_ONCE + 1):
        with pytest.raises(ArtifactNotFound):
            await artifacts.stream(TENANT, DIGEST, size=size)


async def test_a_disk_signs_no_links(artifacts: ArtifactStore) -> None:
    await artifacts.put(TENANT, DATA, "text/plain")

    with pytest.raises(LinksNotSupported):
        await artifacts.sign(TENANT, DIGEST, expires_in=timedelta(minutes=1))


@pytest.mark.parametrize("size", [len(DATA), CHECKED_AT_ONCE + 1])
async def test_a_link_in_the_place_of_a_blob_is_never_followed(
    artifacts: ArtifactStore, tmp_path: Path, size: int
) -> None:
    outside = tmp_path / "outside"
    outside.write_bytes(b"x" * size)
    stored = await artifacts.put(TENANT, b"x" * size, "text/plain")
    file = tmp_path / TENANT / stored.sha256
    file.unlink()
    file.symlink_to(outside)

    with pytest.raises(ArtifactCorrupt):
        await artifacts.stream(TENANT, stored.sha256, size=size)
    with pytest.raises(ArtifactCorrupt):
        await artifacts.get(TENANT, stored.sha256)


async def test_a_link_in_the_place_of_a_folder_is_neither_read_nor_deleted_through(tmp_path: Path) -> None:
    artifacts, outside = ArtifactStore(str(tmp_path / "store")), tmp_path / "outside"
    await artifacts.put(f"{TENANT}/t1/outputs", DATA, "text/plain")
    outside.mkdir()
    (outside / DIGEST).write_bytes(DATA)
    (tmp_path / "store" / TENANT / "t1" / "values").symlink_to(outside)
    (tmp_path / "store" / TENANT / "t2").symlink_to(outside)

    with pytest.raises(ArtifactCorrupt):
        await artifacts.get(f"{TENANT}/t1/values", DIGEST)
    await artifacts.delete_all(f"{TENANT}/t1")
    with pytest.raises(ArtifactStoreRefused, match="leads out"):
        await artifacts.delete_all(f"{TENANT}/t2")

    assert not (tmp_path / "store" / TENANT / "t1").exists()
    assert (outside / DIGEST).read_bytes() == DATA


async def test_a_place_goes_with_all_below_it_and_leaves_no_empty_folder(tmp_path: Path) -> None:
    artifacts = ArtifactStore(str(tmp_path))
    mine, yours = f"{TENANT}/2026/11/21/mine", f"{TENANT}/2026/11/22/yours"
    for place in (mine, f"{mine}/steps/s1/outputs", f"{mine}0", yours):
        await artifacts.put(place, DATA, "text/plain")

    await artifacts.delete_all(mine)
    await artifacts.delete_all(mine)
    await artifacts.delete(yours, DIGEST)

    assert [path.name for path in (tmp_path / TENANT / "2026" / "11").rglob("*")] == ["21", "mine0", DIGEST]


async def test_a_place_that_is_deleted_twice_at_once_is_gone(artifacts: ArtifactStore, tmp_path: Path) -> None:
    for number in range(50):
        await artifacts.put(f"{TENANT}/t1/steps/{number}", DATA, "text/plain")

    await asyncio.gather(*(artifacts.delete_all(f"{TENANT}/t1") for _ in range(4)))

    assert not (tmp_path / TENANT).exists()


async def test_blobs_are_put_while_the_folders_around_them_are_cleaned_up(artifacts: ArtifactStore) -> None:
    async def come_and_go(number: int) -> bytes:
        place = f"{TENANT}/2026/11/21/{number % 4}"
        await artifacts.put(f"{place}/{number}", DATA, "text/plain")
        read = await artifacts.get(f"{place}/{number}", DIGEST)
        await artifacts.delete_all(f"{place}/{number}")
        return read

    assert set(await asyncio.gather(*(come_and_go(number) for number in range(200)))) == {DATA}
