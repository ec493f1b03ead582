"""Artifacts by their digest: uploaded whole or not at all, found whatever they belong to, and nobody else's."""

import asyncio
import hashlib
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from app.artifacts.repository import COLLECTION
from app.artifacts.schemas import ArtifactInfoResponse, ArtifactLinkResponse, UploadListResponse
from app.bootstrap.artifacts import build_upload_retention
from tests.api.conftest import StartApi
from tests.api.harness import Api, api_settings, conforms, fields_of, problem_of, stores_of
from tests.api.serving import served_api
from tests.processes import Server

CSV = b"region,amount\nnorth,10\nsouth,20\n"
KEYS = "key-of-red:red:member,key-of-blue:blue:member,key-of-boss:red:admin"
RED, BLUE, BOSS = ({"X-API-Key": key} for key in ("key-of-red", "key-of-blue", "key-of-boss"))


def digest_of(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


DIGEST = digest_of(CSV)
PATH = f"/v1/artifacts/{DIGEST}"


@pytest.fixture
async def kept(start_api: StartApi, tmp_path: Path) -> AsyncIterator[Api]:
    """An API whose artifacts are in a folder of the test's own, with the keys of two tenants."""
    async with start_api(artifact_store=str(tmp_path), api_keys=KEYS) as api:
        yield api


async def upload(api: Api, data: bytes = CSV, **options: Any) -> httpx.Response:
    headers = {"Content-Type": "text/csv", **RED, **options.pop("headers", {})}
    path = options.pop("path", f"/v1/artifacts/{digest_of(data)}")
    return await api.client.put(path, content=data, headers=headers, **options)


def files_of(folder: Path) -> list[Path]:
    return [one for one in folder.rglob("*") if one.is_file()]


async def documents_of(api: Api) -> int:
    return await api.core.documents(COLLECTION).count({}, limit=100)


async def test_an_upload_is_kept_once_and_found_by_its_digest(kept: Api, tmp_path: Path) -> None:
    first = await upload(kept, params={"name": "sales.csv"})
    again = await upload(kept, params={"name": "other.csv"}, headers={"Content-Type": "text/plain"})
    got = await kept.get(PATH, headers=RED)
    info = await kept.get(f"{PATH}/info", headers=RED)
    listed = await kept.get("/v1/artifacts", headers=RED)

    assert (first.status_code, again.status_code) == (201, 200), first.text
    assert first.headers["location"] == PATH
    assert first.json() == again.json() == info.json()
    conforms(ArtifactInfoResponse, info.json())
    conforms(UploadListResponse, listed.json())
    told = {name: info.json()[name] for name in ("kind", "name", "media_type", "size", "sha256", "expires_at")}
    assert told == {
        "kind": "upload",
        "name": "sales.csv",
        "media_type": "text/csv",
        "size": len(CSV),
        "sha256": DIGEST,
        "expires_at": None,
    }
    assert [one["sha256"] for one in listed.json()["items"]] == [DIGEST]
    assert got.content == CSV
    assert got.headers["content-type"].startswith("text/csv")
    assert got.headers["content-disposition"] == 'attachment; filename="sales.csv"'
    assert got.headers["content-security-policy"].startswith("default-src 'none'")
    assert got.headers["x-content-type-options"] == "nosniff"
    (file,) = files_of(tmp_path)
    assert (file.parts[len(tmp_path.parts)], file.name) == ("red", DIGEST)


async def test_who_has_it_already_is_not_sent_it_again(kept: Api) -> None:
    etag = (await upload(kept), await kept.get(PATH, headers=RED))[1].headers["etag"]

    same = await kept.get(PATH, headers={**RED, "If-None-Match": f'"other", W/{etag}'})
    other = await kept.get(PATH, headers={**RED, "If-None-Match": '"other"'})
    unknown = await kept.get(f"/v1/artifacts/{'0' * 64}", headers={**RED, "If-None-Match": "*"})

    assert (same.status_code, same.content, same.headers["etag"]) == (304, b"", etag)
    assert other.content == CSV
    problem_of(unknown, 404, "ARTIFACT_NOT_FOUND")


async def test_what_is_not_as_announced_is_refused_and_leaves_nothing(kept: Api, tmp_path: Path) -> None:
    other = b"not what the digest says"

    wrong = await upload(kept, other, path=PATH)
    short = await upload(kept, headers={"Content-Length": str(len(CSV) + 1)})
    long = await upload(kept, headers={"Content-Length": str(len(CSV) - 1)})

    details = problem_of(wrong, 422, "ARTIFACT_MISMATCH")["error"]["details"]
    assert details == {"expected": DIGEST, "actual": digest_of(other)}
    problem_of(short, 422, "ARTIFACT_INCOMPLETE")
    problem_of(long, 422, "ARTIFACT_INCOMPLETE")
    problem_of(await kept.get(PATH, headers=RED), 404, "ARTIFACT_NOT_FOUND")
    assert (files_of(tmp_path), await documents_of(kept)) == ([], 0)
    # Also where it is there already, the answer is about what was sent.
    await upload(kept)
    problem_of(await upload(kept, other, path=PATH), 422, "ARTIFACT_MISMATCH")
    assert (await kept.get(PATH, headers=RED)).content == CSV


async def test_hostile_names_are_refused(kept: Api) -> None:
    for name in ("../etc/passwd", "a/b", "a\\b", ".hidden", "", "a b", 'a"b', "ä", "x" * 101, "a\r\nb", "a\n"):
        answer = await upload(kept, params={"name": name})
        assert fields_of(problem_of(answer, 422, "VALIDATION_ERROR")) == ["name"], name

    assert await documents_of(kept) == 0


async def test_headers_have_to_say_what_comes(kept: Api) -> None:
    async def body() -> AsyncIterator[bytes]:
        yield CSV

    unannounced = await kept.client.put(PATH, content=body(), headers={**RED, "Content-Type": "text/csv"})
    problem_of(unannounced, 411, "LENGTH_REQUIRED")
    assert unannounced.headers["connection"] == "close"
    form = await upload(kept, headers={"Content-Type": "application/x-www-form-urlencoded"})
    for media_type in ("", "csv", "text/csv; header=present", "multipart/form-data; boundary=x", "text/\ncsv"):
        problem_of(await upload(kept, headers={"Content-Type": media_type}), 415, "UNSUPPORTED_MEDIA_TYPE")
    problem_of(form, 415, "UNSUPPORTED_MEDIA_TYPE")
    problem_of(await upload(kept, headers={"Content-Encoding": "gzip"}), 415, "UNSUPPORTED_MEDIA_TYPE")
    problem_of(await upload(kept, headers={"Content-Length": str(1024**3 + 1)}), 413, "PAYLOAD_TOO_LARGE")
    for digest in (DIGEST.upper(), "0" * 63, "latest"):
        answer = await upload(kept, path=f"/v1/artifacts/{digest}")
        assert fields_of(problem_of(answer, 422, "VALIDATION_ERROR")) == ["sha256"]
    good = await upload(kept, headers={"Content-Type": "text/csv;charset=UTF-8"})
    assert good.json()["media_type"] == "text/csv; charset=utf-8"


async def test_what_is_larger_than_other_bodies_comes_in_pieces(kept: Api) -> None:
    large = bytes(range(256)) * 24 * 1024

    answer = await upload(kept, large, headers={"Content-Type": "application/octet-stream"})
    empty = await upload(kept, b"")

    assert (answer.status_code, empty.status_code) == (201, 201), answer.text
    assert len(large) > kept.settings.max_body_bytes
    assert (await kept.get(f"/v1/artifacts/{digest_of(large)}", headers=RED)).content == large
    assert (await kept.get(f"/v1/artifacts/{digest_of(b'')}", headers=RED)).content == b""


async def test_another_tenants_artifact_is_not_there(kept: Api, tmp_path: Path) -> None:
    await upload(kept)

    for answer in (
        await kept.get(PATH, headers=BLUE),
        await kept.get(f"{PATH}/info", headers=BLUE),
        await kept.get(f"{PATH}/link", headers=BLUE),
        await kept.client.delete(PATH, headers=BLUE),
    ):
        problem_of(answer, 404, "ARTIFACT_NOT_FOUND")
    assert (await kept.get("/v1/artifacts", headers=BLUE)).json()["items"] == []
    assert (await upload(kept, headers=BLUE)).status_code == 201
    assert len(files_of(tmp_path)) == 2
    await kept.client.delete(PATH, headers=RED)
    assert (await kept.get(PATH, headers=BLUE)).content == CSV


async def test_a_deleted_upload_is_gone_and_can_be_sent_again(kept: Api, tmp_path: Path) -> None:
    await upload(kept)

    gone = await kept.client.delete(PATH, headers=RED)
    twice = await kept.client.delete(PATH, headers=RED)

    assert gone.status_code == 204
    problem_of(twice, 404, "ARTIFACT_NOT_FOUND")
    assert (files_of(tmp_path), await documents_of(kept)) == ([], 0)
    assert (await upload(kept)).status_code == 201
    kinds = [one["kind"] for one in (await kept.get("/v1/audit", headers=BOSS)).json()["items"]]
    assert [kind for kind in kinds if kind.startswith("artifact.")] == [
        "artifact.uploaded",
        "artifact.deleted",
        "artifact.uploaded",
    ]


async def test_the_same_sent_twice_at_once_is_kept_once(kept: Api, tmp_path: Path) -> None:
    answers = await asyncio.gather(*(upload(kept) for _ in range(8)))

    assert sorted(answer.status_code for answer in answers) == [200] * 7 + [201]
    assert (len(files_of(tmp_path)), await documents_of(kept)) == (1, 1)


async def test_a_link_needs_a_bucket(kept: Api) -> None:
    await upload(kept)

    problem_of(await kept.get(f"{PATH}/link", headers=RED), 409, "ARTIFACT_LINKS_NOT_SUPPORTED")
    conforms(ArtifactLinkResponse, {"url": "u", "expires_in": 1, "sha256": DIGEST, "api_version": "v1"})


async def test_pages_of_uploads_are_newest_first(kept: Api) -> None:
    digests = [digest_of(data) for data in (b"1", b"2", b"3")]
    for data in (b"1", b"2", b"3"):
        await upload(kept, data)

    page = (await kept.get("/v1/artifacts?page_size=2", headers=RED)).json()
    rest = (await kept.get(f"/v1/artifacts?page_size=2&cursor={page['next_cursor']}", headers=RED)).json()

    assert [one["sha256"] for one in page["items"]] == digests[:0:-1]
    assert [one["sha256"] for one in rest["items"]] == digests[:1]
    assert (page["meta"]["total_items"], rest["next_cursor"]) == (3, None)


async def test_uploads_expire_after_they_were_sent_last(start_api: StartApi, tmp_path: Path) -> None:
    async with start_api(artifact_store=str(tmp_path), artifact_upload_retention_days=1) as api:
        await upload(api)
        expires_at = (await api.get(f"{PATH}/info")).json()["expires_at"]
        retention = build_upload_retention(api.core)
        too_early = await retention.delete_due()
        await upload(api)
        later = (await api.get(f"{PATH}/info")).json()["expires_at"]
        retention._clock = lambda: api.core.clock() + timedelta(days=1, seconds=1)

        deleted = await retention.delete_due()

        assert (too_early, deleted) == (0, 1)
        assert later >= expires_at
        problem_of(await api.get(PATH), 404, "ARTIFACT_NOT_FOUND")
        assert (files_of(tmp_path), await documents_of(api)) == ([], 0)


async def test_a_body_that_breaks_off_leaves_nothing(store: Server, redis_url: str, tmp_path: Path) -> None:
    settings = api_settings(**stores_of(store, redis_url), artifact_store=str(tmp_path))
    size = 12 * 1024 * 1024
    async with served_api(settings) as api:
        reader, writer = await asyncio.open_connection(api.client.base_url.host, api.client.base_url.port)
        head = f"PUT {PATH} HTTP/1.1\r\nHost: api.test\r\nContent-Type: text/csv\r\nContent-Length: {size}\r\n\r\n"
        writer.write(head.encode() + b"x" * (size // 2))
        await writer.drain()
        async with asyncio.timeout(10):
            while not files_of(tmp_path):  # noqa: ASYNC110 - nothing announces that a part was written
                await asyncio.sleep(0.01)
        seen = {file.name for file in files_of(tmp_path)}
        unfinished = await api.get(PATH)

        writer.close()
        async with asyncio.timeout(10):
            while await documents_of(api):  # noqa: ASYNC110 - nothing announces that a request has ended
                await asyncio.sleep(0.01)
        await reader.read()

    assert DIGEST not in seen
    problem_of(unfinished, 404, "ARTIFACT_NOT_FOUND")
    assert files_of(tmp_path) == []
