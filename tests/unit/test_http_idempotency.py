import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any, cast

import httpx
import mongomock
import pytest
from fastapi import FastAPI

from app.database.documents import Database
from app.database.errors import StoreUnavailable
from app.database.idempotency import COLLECTION, Reservation, Reservations
from app.http.idempotency import LIFETIME, Idempotency, IdempotencyKeyReused, body_digest
from app.http.parameters import IdempotencyKey
from app.http.problems import install_problem_handlers

NOON = datetime(2026, 5, 1, 12, 0, tzinfo=UTC)
BODY = {"task": "write", "metadata": {"a": 1, "b": [1, 2]}}


class AsyncCollection:
    """mongomock with the three calls the repository makes; each lets others run before it acts."""

    def __init__(self, collection: Any) -> None:
        self.inner = collection
        self.name = collection.name

    async def insert_one(self, document: Any) -> Any:
        await asyncio.sleep(0)
        return self.inner.insert_one(document)

    async def update_one(self, *args: Any, **options: Any) -> Any:
        await asyncio.sleep(0)
        return self.inner.update_one(*args, **options)

    async def find_one(self, *args: Any, **options: Any) -> Any:
        await asyncio.sleep(0)
        return self.inner.find_one(*args, **options)


class Times:
    now = NOON

    def __call__(self) -> datetime:
        return self.now


class Keys:
    """The policy over an empty store, with the arguments that most tests share."""

    def __init__(self) -> None:
        self.store: Any = mongomock.MongoClient(tz_aware=True)["test"][COLLECTION]
        self.time = Times()
        self.database = cast("Database", {COLLECTION: AsyncCollection(self.store)})
        self.policy = Idempotency(Reservations(self.database), clock=self.time)

    async def reserve(
        self, work_id: str, *, key: str = "k", tenant: str = "acme", route: str = "r", body: Any = BODY
    ) -> str:
        return await self.policy.reserve(key, tenant_id=tenant, route=route, body=body, work_id=work_id)


async def test_the_first_reservation_keeps_its_id_and_every_repetition_gets_it() -> None:
    keys = Keys()

    assert await keys.reserve("w1") == "w1"
    assert await keys.reserve("w2") == "w1"
    assert await keys.reserve("w3", body={"metadata": {"b": [1, 2], "a": 1}, "task": "write"}) == "w1"


async def test_another_body_under_the_same_key_is_refused() -> None:
    keys = Keys()
    await keys.reserve("w1")

    with pytest.raises(IdempotencyKeyReused) as caught:
        await keys.reserve("w2", body={"task": "other"})

    assert (caught.value.code, caught.value.status) == ("IDEMPOTENCY_KEY_REUSED", 422)


async def test_tenants_routes_and_keys_are_apart() -> None:
    keys = Keys()
    await keys.reserve("w1")

    assert await keys.reserve("w2", tenant="other") == "w2"
    assert await keys.reserve("w3", route="other") == "w3"
    assert await keys.reserve("w4", key="other") == "w4"


async def test_parts_of_a_scope_cannot_be_shifted_into_one_another() -> None:
    keys = Keys()

    await keys.reserve("w1", tenant="a", route="b:c", key="d")

    assert await keys.reserve("w2", tenant="a:b", route="c", key="d") == "w2"


async def test_of_many_at_once_one_wins_and_all_hear_the_same() -> None:
    keys = Keys()

    answers = await asyncio.gather(*(keys.reserve(f"w{n}") for n in range(20)))

    assert len(set(answers)) == 1
    assert keys.store.count_documents({}) == 1


async def test_after_a_day_the_key_is_free_again_even_if_the_store_has_not_cleaned_up() -> None:
    keys = Keys()
    await keys.reserve("w1")

    keys.time.now = NOON + LIFETIME - timedelta(seconds=1)
    assert await keys.reserve("w2") == "w1"
    keys.time.now = NOON + LIFETIME
    answers = await asyncio.gather(*(keys.reserve(f"v{n}", body={"new": 1}) for n in range(5)))

    assert len(set(answers)) == 1
    assert answers[0].startswith("v")


async def test_the_tenant_is_stored_and_the_key_is_not() -> None:
    keys = Keys()

    await keys.reserve("w1", key="canary")

    document = keys.store.find_one({})
    assert document["tenant_id"] == "acme"
    assert document["expires_at"] == NOON + LIFETIME
    assert "canary" not in str(document)


async def test_a_document_that_always_vanishes_is_an_unavailable_store_not_a_loop() -> None:
    keys = Keys()
    await keys.reserve("w1")
    foreign = Reservation(keys.store.find_one({})["_id"], "other-tenant", "d", "w2", NOON, NOON + LIFETIME)

    with pytest.raises(StoreUnavailable):
        await Reservations(keys.database).reserve(foreign, now=NOON)


def test_the_digest_depends_on_values_not_on_spelling() -> None:
    assert body_digest({"a": 1, "b": 2}) == body_digest({"b": 2, "a": 1})
    assert body_digest({"a": 1}) != body_digest({"a": "1"})
    assert len(body_digest(None)) == 64


async def ask(key: bytes | None) -> httpx.Response:
    app = FastAPI()

    @app.post("/")
    async def echo(key: IdempotencyKey) -> str | None:
        return key

    install_problem_handlers(app)
    headers = [(b"idempotency-key", key)] if key is not None else []
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test") as client:
        return await client.post("/", headers=headers)


async def test_the_header_is_optional_and_taken_as_it_is() -> None:
    assert (await ask(None)).json() is None
    assert (await ask(b'"8e03978e"')).json() == '"8e03978e"'
    assert (await ask(b"x" * 255)).json() == "x" * 255


@pytest.mark.parametrize("key", [b"", b"x" * 256, b"\xfc", b"a\tb"])
async def test_a_wrong_header_is_refused(key: bytes) -> None:
    answer = await ask(key)

    assert answer.status_code == 422
    assert answer.json()["error"]["details"][0]["field"] == "Idempotency-Key"
