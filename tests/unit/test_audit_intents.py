"""Acts that are written down before they are done, and processes that die in the middle of them."""

from typing import Any

import pytest

from app.database.documents import Database, Documents
from app.database.errors import StoreUnavailable
from app.errors import Conflict
from app.governance.audit.entries import Entry
from app.governance.audit.intents import COLLECTION, PATIENCE, Intents
from app.governance.audit.repository import COLLECTION as AUDIT
from app.governance.audit.repository import AuditRepository
from app.governance.audit.trail import AuditTrail
from app.observability.redaction import Redactor
from tests.fakes.fate import Collection, Crash, Fate
from tests.job_builders import SECOND, TENANT, FakeClock

# The intent, the act, the entry, and that it is all done.
WRITES = 4


class Office:
    """One process that does acts and records them."""

    def __init__(self, database: Database, clock: FakeClock, fate: Fate | None = None) -> None:
        def documents(name: str) -> Documents:
            return Documents(Collection(database[name], fate or Fate()))  # type: ignore[arg-type]

        self._database = database
        self._things = documents("things")
        self._entries = AuditRepository(documents(AUDIT))
        trail = AuditTrail(self._entries, Redactor(), clock=clock, on_lost=lambda: None)
        self.intents = Intents(documents(COLLECTION), trail, clock=clock)

    async def do(self) -> None:
        async with self.intents.around(TENANT, "thing.done", "a-key", {"thing": "t1"}, {"size": 7}) as detail:
            await self._things.insert({"_id": "t1", "tenant_id": TENANT})
            detail["is_new"] = True

    async def is_done(self) -> bool:
        return await self._database["things"].find_one({"_id": "t1"}) is not None

    async def entries(self) -> list[Entry]:
        return [entry async for entry in self._entries.read_chain(TENANT)]

    async def is_settled(self) -> bool:
        return await self._database[COLLECTION].find_one({}) is None


async def test_an_act_is_recorded_once_with_what_was_found_in_doing_it(database: Database, clock: FakeClock) -> None:
    office = Office(database, clock)

    await office.do()
    clock.advance(PATIENCE)
    await office.intents.settle_left()

    [entry] = await office.entries()
    assert (entry["kind"], entry["actor"], entry["subject"]) == ("thing.done", "a-key", {"thing": "t1"})
    assert entry["detail"] == {"size": 7, "is_new": True}
    assert await office.is_settled()


@pytest.mark.parametrize("half", ["before", "after"])
@pytest.mark.parametrize("dies_at", range(1, WRITES + 1))
async def test_whatever_was_done_is_in_the_trail_whichever_write_was_the_last(
    database: Database, clock: FakeClock, dies_at: int, half: str
) -> None:
    with pytest.raises(Crash):
        await Office(database, clock, Fate(dies_at=dies_at, half=half)).do()

    successor = Office(database, clock)
    await successor.intents.settle_left()
    in_time = len(await successor.entries())
    for _ in range(2):
        clock.advance(PATIENCE)
        await successor.intents.settle_left()

    found = await successor.entries()
    was_written_down = (dies_at, half) != (1, "before")
    was_recorded = dies_at == WRITES or (dies_at, half) == (3, "after")
    assert in_time == was_recorded
    assert len(found) == was_written_down >= await successor.is_done()
    assert [one["detail"].get("outcome") for one in found] == ([None] if was_recorded else ["unknown"] * len(found))
    assert await successor.is_settled()


async def test_an_act_that_was_refused_is_not_recorded(database: Database, clock: FakeClock) -> None:
    office = Office(database, clock)

    with pytest.raises(Conflict):
        async with office.intents.around(TENANT, "thing.done", "a-key", {}):
            raise Conflict("it has changed")

    assert await office.entries() == []
    assert await office.is_settled()


async def test_an_act_that_the_store_did_not_answer_is_recorded_as_one_that_may_have_been_done(
    database: Database, clock: FakeClock
) -> None:
    office = Office(database, clock)

    with pytest.raises(StoreUnavailable):
        async with office.intents.around(TENANT, "thing.done", "a-key", {}):
            raise StoreUnavailable("the store does not answer")
    clock.advance(PATIENCE)
    await office.intents.settle_left()

    assert [entry["detail"] for entry in await office.entries()] == [{"outcome": "unknown"}]


async def test_an_act_that_cannot_be_written_down_is_not_done(database: Database, clock: FakeClock) -> None:
    class Away(Documents):
        async def insert(self, document: Any) -> None:
            raise StoreUnavailable("the store does not answer")

    office = Office(database, clock)
    office.intents._documents = Away(database[COLLECTION])

    with pytest.raises(StoreUnavailable):
        await office.do()

    assert not await office.is_done()


async def test_who_is_still_at_it_is_not_disturbed(database: Database, clock: FakeClock) -> None:
    office = Office(database, clock)

    async with office.intents.around(TENANT, "thing.done", "a-key", {}):
        clock.advance(PATIENCE - SECOND)
        await office.intents.settle_left()

    assert [entry["detail"] for entry in await office.entries()] == [{}]
