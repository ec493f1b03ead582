"""Holds are kept by their subjects in every store, listed in order, and found by whoever looks after them."""

from datetime import timedelta

import pytest

from app.database.documents import Documents
from app.database.indexes import ensure_indexes
from app.errors import NotFound
from app.governance.legal_holds.keeping import AHEAD, BATCH, PAUSE, HoldKeeper, by_field
from app.governance.legal_holds.models import HeldKind, LegalHold, NotHoldable
from app.governance.legal_holds.repository import HoldRepository, Subjects, indexes
from app.http.pagination import Cursor
from app.jobs.models import DRY_RUN, LEGAL_HOLD
from tests.contracts.store_outcomes import Database
from tests.job_builders import NOON, OTHER_TENANT, SECOND, TENANT, FakeClock

REASON = "a case"


class Files:
    """Subjects that are found by a field other than their id."""

    def __init__(self, database: Database) -> None:
        self.documents = Documents(database["files"])
        self.holds = HoldRepository(
            Subjects(HeldKind.ARTIFACT, self.documents, NotFound, lambda one: one != "!", id_field="sha256")
        )

    async def add(self, sha256: str, *, tenant: str = TENANT, dry_run: bool | None = None) -> None:
        document = {"_id": f"{tenant}:{sha256}", "tenant_id": tenant, "sha256": sha256, DRY_RUN: dry_run}
        await self.documents.insert(document)

    async def place(self, sha256: str, *, after: int = 0, tenant: str = TENANT) -> LegalHold:
        return await self.holds.place(tenant, sha256, REASON, by="key", now=NOON + after * SECOND)


@pytest.fixture
async def files(db: Database) -> Files:
    await ensure_indexes(db, indexes("files", "sha256"))
    return Files(db)


async def test_a_hold_is_there_until_it_is_released_and_leaves_nothing(files: Files) -> None:
    await files.add("a")

    placed = await files.place("a")
    found = await files.holds.find(TENANT, "a")
    await files.holds.release(TENANT, "a")

    assert placed == found == LegalHold(HeldKind.ARTIFACT, "a", REASON, "key", NOON)
    assert await files.holds.find(TENANT, "a") is None
    assert LEGAL_HOLD not in (await files.documents.find_many({}, limit=1))[0]


async def test_what_is_not_there_another_tenants_or_removed_by_the_store_cannot_be_held(files: Files) -> None:
    await files.add("theirs", tenant=OTHER_TENANT)
    await files.add("dry", dry_run=True)

    for sha256 in ("none", "theirs", "dry", "!"):
        with pytest.raises(NotFound):
            await files.place(sha256)
    with pytest.raises(NotHoldable):
        await files.holds.find(TENANT, "dry")
    await files.holds.release(TENANT, "theirs")

    assert await files.holds.count(OTHER_TENANT, limit=10) == 0


async def test_the_newest_come_first_and_a_cursor_goes_on_behind_the_last(files: Files) -> None:
    for place, sha256 in enumerate("abcd"):
        await files.add(sha256)
        await files.place(sha256, after=place // 2)
    await files.add("not held")
    await files.add("e", tenant=OTHER_TENANT)
    await files.place("e", tenant=OTHER_TENANT)

    first = await files.holds.list_page(TENANT, limit=3)
    rest = await files.holds.list_page(TENANT, limit=3, after=Cursor(first[-1].placed_at, first[-1].subject_id))

    assert [[one.subject_id for one in page] for page in (first, rest)] == [["d", "c", "b"], ["a"]]
    assert await files.holds.count(TENANT, limit=10) == 4


async def test_more_subjects_than_are_kept_at_once_are_all_kept_in_turn(db: Database, files: Files) -> None:
    clock, notes = FakeClock(), Documents(db["notes"])
    keeper = HoldKeeper({HeldKind.ARTIFACT: files.holds}, {HeldKind.ARTIFACT: [by_field(notes, "of")]}, clock=clock)
    names = [f"{number:03}" for number in range(BATCH + 1)]
    for name in names:
        await files.add(name)
        await files.place(name)
        await notes.insert({"_id": name, "tenant_id": TENANT, "of": name, "expires_at": NOON})
    await notes.insert({"_id": "x", "tenant_id": TENANT, "of": "x", "expires_at": NOON})

    kept = [await keeper.keep_some() for _ in range(3)]
    clock.advance(PAUSE + timedelta(seconds=1))
    again = await keeper.keep_some()

    assert (kept, again) == ([BATCH, 1, 0], BATCH)
    found = await notes.find_many({}, limit=100)
    assert {one["_id"]: one["expires_at"] for one in found} == {**dict.fromkeys(names, NOON + AHEAD), "x": NOON}
