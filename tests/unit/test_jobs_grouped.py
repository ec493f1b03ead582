"""Writes that share a round trip, one of which the store cannot hold."""

import asyncio
from collections.abc import Iterable

import pytest

from app.database.documents import Document, Documents
from app.database.errors import StoreFailure, StoreUnavailable
from app.jobs.grouped import GroupedWrites
from tests.fakes.mongo import fake_mongo

POISON = "poison"


class Picky(Documents):
    """A collection that refuses whole round trips."""

    error: Exception = StoreFailure("it is too large")
    calls = 0

    async def insert_missing(self, documents: Iterable[Document]) -> frozenset[int]:
        self.calls += 1
        given = list(documents)
        if any(one["_id"] == POISON for one in given):
            raise self.error
        return await super().insert_missing(given)


@pytest.fixture
def picky() -> Picky:
    return Picky(fake_mongo()["tests"]["jobs"])


async def inserted(picky: Picky, names: list[str]) -> list[bool | BaseException]:
    grouped = GroupedWrites(picky)
    found = (grouped.insert({"_id": name, "tenant_id": "t"}) for name in names)
    async with asyncio.timeout(5):
        return await asyncio.gather(*found, return_exceptions=True)


@pytest.mark.parametrize("error", [StoreFailure("it is too large"), RecursionError()])
async def test_a_document_that_cannot_be_stored_spoils_no_other_of_its_round_trip(
    picky: Picky, error: Exception
) -> None:
    picky.error = error
    names = [*(f"job-{number}" for number in range(40)), POISON, "last"]

    answers = await inserted(picky, names)

    assert answers == [error if name == POISON else True for name in names]


async def test_a_store_that_does_not_answer_is_not_asked_for_each_document_again(picky: Picky) -> None:
    picky.error = StoreUnavailable("nobody there")

    answers = await inserted(picky, [POISON, "job-1", "job-2"])

    assert [isinstance(answer, StoreUnavailable) for answer in answers] == [True, True, True]
    assert picky.calls == 1


async def test_what_no_document_can_hold_is_an_error_of_the_store(picky: Picky) -> None:
    with pytest.raises(StoreFailure, match="UnicodeEncodeError"):
        await picky.insert({"_id": "job-1", "tenant_id": "t", "text": "\ud800"})
