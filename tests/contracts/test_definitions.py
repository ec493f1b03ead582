"""Stored workflows on every store: versions that never change, and a name that stands for one of them."""

import asyncio
from dataclasses import dataclass, replace
from typing import Any

import pytest

from app.database.documents import Documents
from app.database.indexes import ensure_indexes
from app.http.pagination import Cursor
from app.workflows.definitions import repository
from app.workflows.definitions.models import LONGEST_SUMMARY, Contents, Pin, SourceFormat, StoredWorkflow
from app.workflows.definitions.repository import VERSIONS, WORKFLOWS, DefinitionRepository
from tests.contracts.store_outcomes import Database
from tests.job_builders import NOON, OTHER_TENANT, SECOND, TENANT, FakeClock

BY = "key-1"
# What a store of documents must not look into.
HOSTILE: dict[str, Any] = {"$where": {"a.b": [1, None, {"": "é\u0000"}]}, "steps": {"x": {"$set": 1}}}


def contents(name: str = "analysis", digest: str = "sha256:one", **changed: Any) -> Contents:
    usual = Contents(
        name=name,
        digest=digest,
        description="Sentiment first.",
        source_format=SourceFormat.YAML,
        source_text="name: analysis # a comment\n",
        document=HOSTILE,
        graph={"nodes": [], "edges": []},
        inputs={"type": "object", "$defs": {}},
        outputs={},
        parts=(Pin("draft", "draft", "sha256:part"),),
    )
    return replace(usual, **changed)


@dataclass
class Definitions:
    repository: DefinitionRepository
    clock: FakeClock

    async def put(
        self, wanted: Contents, *, tenant: str = TENANT, expected: str | None = None
    ) -> StoredWorkflow | None:
        await self.repository.keep_version(tenant, wanted, by=BY)
        made = await self.repository.make_current(tenant, wanted, by=BY, expected=expected)
        if made is not None:
            await self.repository.release(tenant, wanted)
        self.clock.advance(SECOND)
        return made and made[0]

    async def find(self, reference: str = "analysis", *, tenant: str = TENANT) -> StoredWorkflow:
        found = await self.repository.find(tenant, reference)
        assert found is not None
        return found

    async def digests(self, **options: Any) -> list[str]:
        found = await self.repository.list_versions(TENANT, await self.find(), **{"limit": 10, **options})
        return [release.digest for release in found]


@pytest.fixture
async def definitions(db: Database) -> Definitions:
    await ensure_indexes(db, repository.INDEXES)
    clock = FakeClock(NOON)
    return Definitions(DefinitionRepository(Documents(db[WORKFLOWS]), Documents(db[VERSIONS]), clock=clock), clock)


async def test_a_version_is_read_as_it_was_stored(definitions: Definitions) -> None:
    await definitions.put(contents())

    found = await definitions.repository.find_version(TENANT, "analysis", "sha256:one")

    assert found is not None
    assert found.contents == contents()
    assert (found.digest, found.created_at, found.created_by) == ("sha256:one", NOON, BY)


async def test_a_workflow_is_found_by_name_and_by_id_and_keeps_its_id(definitions: Definitions) -> None:
    first = await definitions.put(contents())
    second = await definitions.put(contents(digest="sha256:two"))

    assert first is not None
    assert second is not None
    assert first.id == second.id
    assert await definitions.find("analysis") == await definitions.find(first.id) == second
    assert (second.digest, second.created_at, second.updated_at) == ("sha256:two", NOON, NOON + SECOND)


async def test_a_version_that_is_stored_again_stays_as_it_was(definitions: Definitions) -> None:
    await definitions.put(contents())
    await definitions.put(contents(source_text="name: analysis\n"))

    found = await definitions.repository.find_version(TENANT, "analysis", "sha256:one")

    assert found is not None
    assert found.contents.source_text == contents().source_text
    assert await definitions.digests() == ["sha256:one"]


async def test_of_many_who_store_the_same_at_once_one_is_first(definitions: Definitions) -> None:
    async def put() -> tuple[bool, bool]:
        await definitions.repository.keep_version(TENANT, contents(), by=BY)
        made = await definitions.repository.make_current(TENANT, contents(), by=BY)
        assert made is not None
        return made[1], await definitions.repository.release(TENANT, contents())

    made = await asyncio.gather(*(put() for _ in range(8)))

    assert sum(was_free for was_free, _ in made) == 1
    assert sum(released for _, released in made) == 1
    assert await definitions.repository.count(TENANT, limit=10) == 1


async def test_of_two_who_replace_the_same_version_one_does(definitions: Definitions) -> None:
    await definitions.put(contents())

    made = await asyncio.gather(
        *(definitions.put(contents(digest=digest), expected="sha256:one") for digest in ("sha256:two", "sha256:three"))
    )

    (winner,) = [workflow for workflow in made if workflow is not None]
    assert (await definitions.find()).digest == winner.digest
    assert set(await definitions.digests()) == {"sha256:one", winner.digest}


async def test_with_an_expected_version_nothing_begins(definitions: Definitions) -> None:
    assert await definitions.put(contents(), expected="sha256:one") is None
    assert await definitions.repository.find(TENANT, "analysis") is None


async def test_an_older_version_becomes_the_current_one_again(definitions: Definitions) -> None:
    for digest in ("sha256:one", "sha256:two", "sha256:one"):
        await definitions.put(contents(digest=digest))

    assert (await definitions.find()).digest == "sha256:one"
    assert await definitions.digests() == ["sha256:two", "sha256:one"]


async def test_versions_are_walked_from_the_newest_without_gap_or_repetition(definitions: Definitions) -> None:
    names = [f"sha256:{number}" for number in range(5)]
    for digest in names:
        await definitions.put(contents(digest=digest))

    first = await definitions.repository.list_versions(TENANT, await definitions.find(), limit=2)
    rest = await definitions.digests(after=Cursor(first[-1].created_at, first[-1].digest))

    assert [release.digest for release in first] + rest == names[::-1]
    assert await definitions.digests(skip=4) == names[:1]
    assert await definitions.repository.count_versions(TENANT, await definitions.find(), limit=3) == 3


async def test_a_version_whose_storing_died_half_way_is_listed_once_it_is_current(definitions: Definitions) -> None:
    await definitions.put(contents())
    await definitions.repository.keep_version(TENANT, contents(digest="sha256:two"), by=BY)
    before = await definitions.digests()
    await definitions.repository.make_current(TENANT, contents(digest="sha256:two"), by=BY)

    assert before == ["sha256:one"]
    assert set(await definitions.digests()) == {"sha256:one", "sha256:two"}


async def test_a_deleted_workflow_is_gone_and_its_versions_stay(definitions: Definitions) -> None:
    await definitions.put(contents())
    workflow = await definitions.find()

    deleted = [await definitions.repository.delete(TENANT, workflow, by=BY) for _ in range(2)]

    assert deleted == [True, False]
    assert await definitions.repository.find(TENANT, "analysis") is None
    assert await definitions.repository.find(TENANT, workflow.id) is None
    assert await definitions.repository.list_page(TENANT, limit=10) == []
    assert await definitions.repository.find_version(TENANT, "analysis", "sha256:one") is not None


async def test_a_deleted_workflow_that_is_stored_again_is_the_same_one(definitions: Definitions) -> None:
    first = await definitions.put(contents())
    assert first is not None
    await definitions.repository.delete(TENANT, first, by=BY)

    made = await definitions.repository.make_current(TENANT, contents(), by=BY)

    assert made is not None
    assert (made[0].id, made[1]) == (first.id, True)


async def test_workflows_are_walked_from_the_newest_without_gap_or_repetition(definitions: Definitions) -> None:
    names = [f"w{number}" for number in range(5)]
    for name in names:
        await definitions.put(contents(name))
    await definitions.put(contents("w0", "sha256:two"))

    first = await definitions.repository.list_page(TENANT, limit=2)
    after = Cursor(first[-1].created_at, first[-1].name)
    rest = await definitions.repository.list_page(TENANT, limit=10, after=after)

    assert [workflow.name for workflow in (*first, *rest)] == names[::-1]
    assert [workflow.name for workflow in await definitions.repository.list_page(TENANT, limit=10, skip=4)] == ["w0"]
    assert await definitions.repository.count(TENANT, limit=10) == 5


async def test_the_list_has_only_the_beginning_of_a_description(definitions: Definitions) -> None:
    await definitions.put(contents(description="x" * 50_000))

    assert (await definitions.find()).summary == "x" * LONGEST_SUMMARY


async def test_a_tenant_has_only_its_own(definitions: Definitions) -> None:
    mine = await definitions.put(contents())
    theirs = await definitions.put(contents(digest="sha256:two"), tenant=OTHER_TENANT)
    assert mine is not None
    assert theirs is not None

    await definitions.repository.delete(OTHER_TENANT, theirs, by=BY)

    assert mine.id != theirs.id
    assert await definitions.repository.find(TENANT, theirs.id) is None
    assert await definitions.repository.find_version(TENANT, "analysis", "sha256:two") is None
    assert (await definitions.find()).digest == "sha256:one"
