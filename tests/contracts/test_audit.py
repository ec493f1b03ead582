"""The audit trail that several processes write, over the fake and over the embedded store."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

import pytest
from pymongo import AsyncMongoClient
from structlog.testing import capture_logs

from app.database.documents import Database, Documents
from app.database.errors import StoreFailure, StoreUnavailable
from app.database.indexes import ensure_indexes
from app.governance.audit.entries import Entry, Head
from app.governance.audit.repository import COLLECTION, INDEXES, AuditRepository
from app.governance.audit.trail import HEAD_PAUSE, LONGEST_DETAIL, MOST_LATE, SYSTEM, AuditTrail
from app.governance.audit.verification import Break, Verification
from app.observability.redaction import MASK, Redactor
from tests.fakes.mongo import fake_mongo
from tests.job_builders import NOON, OTHER_TENANT, SECOND, TENANT, FakeClock
from tests.processes import Server

PATIENCE = 20
SECRET = "the-configured-secret"


@pytest.fixture(params=["fake", "embedded"])
async def database(request: pytest.FixtureRequest) -> AsyncIterator[Database]:
    if request.param == "fake":
        yield fake_mongo()["tests"]
        return
    store: Server = request.getfixturevalue("store")
    client: AsyncMongoClient[dict[str, Any]] = AsyncMongoClient(store.mongo_uri, tz_aware=True)
    found = client[f"audit_{uuid4().hex}"]
    await ensure_indexes(found, INDEXES)
    yield found
    await client.close()


class Flaky(AuditRepository):
    """A store that is away for a while, with answers that are lost after the write or before it."""

    def __init__(self, documents: Documents, *, failures: int, is_written: bool) -> None:
        super().__init__(documents)
        self.failures = failures
        self._is_written = is_written

    async def insert(self, tenant_id: str, entries: Any) -> None:
        if self.failures == 0:
            await super().insert(tenant_id, entries)
            return
        self.failures -= 1
        if self._is_written:
            await super().insert(tenant_id, entries)
        raise StoreUnavailable("the store does not answer")


@dataclass
class Witness:
    """One process's trail over a database."""

    database: Database
    clock: FakeClock = field(default_factory=FakeClock)
    lost: list[None] = field(default_factory=list)

    def repository(self) -> AuditRepository:
        return AuditRepository(Documents(self.database[COLLECTION]))

    def trail(self, repository: AuditRepository | None = None) -> AuditTrail:
        return AuditTrail(
            repository or self.repository(),
            Redactor([SECRET]),
            clock=self.clock,
            on_lost=lambda: self.lost.append(None),
        )

    async def entries(self, tenant_id: str = TENANT) -> list[Entry]:
        return [entry async for entry in self.repository().read_chain(tenant_id)]

    async def verify(self, anchors: Iterable[Head] = ()) -> Break | None:
        verification = Verification(anchors=anchors)
        for entry in await self.entries():
            verification.take(entry)
        return verification.finish()

    async def head(self) -> Head:
        return await self.repository().read_head(TENANT)


async def wrote(witness: Witness, count: int) -> None:
    trail = witness.trail()
    for number in range(count):
        witness.clock.advance(SECOND)
        await trail.record(TENANT, "budget.put", "a-key", {"name": f"agent-{number}"}, {"limit": number})


async def all_written(witness: Witness, count: int) -> list[Entry]:
    async with asyncio.timeout(PATIENCE):
        while len(found := await witness.entries()) < count:  # noqa: ASYNC110 - another task writes them
            await asyncio.sleep(0.01)
    return found


async def test_processes_that_write_at_once_leave_one_chain_without_gaps_or_losses(database: Database) -> None:
    witness = Witness(database)
    trails = [witness.trail() for _ in range(4)]

    await asyncio.gather(
        *(
            trail.record(TENANT, "budget.put", f"key-{process}", {"name": f"{process}-{number}"})
            for number in range(25)
            for process, trail in enumerate(trails)
        )
    )

    entries = await witness.entries()
    names = {f"{process}-{number}" for process in range(4) for number in range(25)}
    assert [entry["seq"] for entry in entries] == list(range(1, 101))
    assert {entry["subject"]["name"] for entry in entries} == names
    assert await witness.verify() is None
    assert not witness.lost


async def test_each_tenant_has_a_chain_of_its_own(database: Database) -> None:
    witness = Witness(database)
    trail = witness.trail()

    await trail.record(TENANT, "workflow.put", "a-key", {"workflow": "one"})
    await trail.record(OTHER_TENANT, "workflow.put", "b-key", {"workflow": "two"})

    [mine], [theirs] = await witness.entries(), await witness.entries(OTHER_TENANT)
    assert (mine["seq"], mine["subject"]) == (1, {"workflow": "one"})
    assert (theirs["seq"], theirs["subject"]) == (1, {"workflow": "two"})
    assert await witness.repository().list_tenants() == sorted([TENANT, OTHER_TENANT])


async def test_an_entry_says_who_did_what_to_what_and_when(database: Database) -> None:
    witness = Witness(database)

    await witness.trail().record(
        TENANT, "budget.put", "a-key", {"name": "CodeAgent"}, {"limits": {"usd": 0.1, "at": NOON}}
    )

    [entry] = await witness.entries()
    assert (entry["tenant_id"], entry["kind"], entry["actor"]) == (TENANT, "budget.put", "a-key")
    assert entry["subject"] == {"name": "CodeAgent"}
    assert entry["detail"] == {"limits": {"usd": 0.1, "at": "2026-11-21T12:00:00.000Z"}}
    assert (entry["at"], entry["previous"]) == ("2026-11-21T12:00:00.000Z", "0" * 64)


async def test_neither_secrets_nor_texts_of_people_are_kept_and_no_entry_grows_without_bound(
    database: Database,
) -> None:
    witness = Witness(database)
    trail = witness.trail()

    await trail.record(TENANT, "a.b", "a-key", {"note": f"with {SECRET}"}, {"prompt": "hello", "api_key": "x", "n": 1})
    await trail.record(TENANT, "a.b", "a-key", {"name": "x" * 5000}, {f"name-{n}": "y" * 2000 for n in range(50)})

    hidden, cut = await witness.entries()
    assert hidden["subject"] == {"note": f"with {MASK}"}
    assert hidden["detail"] == {"prompt": MASK, "api_key": MASK, "n": 1}
    assert len(cut["subject"]["name"]) < 300
    assert set(cut["detail"]) == {"left_out_bytes", "digest"}
    assert cut["detail"]["left_out_bytes"] > LONGEST_DETAIL
    assert await witness.verify() is None


Tamper = Callable[[Any], Awaitable[Any]]
AT_FIVE = {"_id": f"{TENANT}:5"}


def _set(**fields: Any) -> Tamper:
    return lambda entries: entries.update_one(AT_FIVE, {"$set": fields})


async def _swap(entries: Any) -> None:
    fifth, sixth = await entries.find_one(AT_FIVE), await entries.find_one({"_id": f"{TENANT}:6"})
    for one in (fifth, sixth):
        await entries.delete_one({"_id": one["_id"]})
    await entries.insert_one({**fifth, "_id": sixth["_id"], "seq": 6})
    await entries.insert_one({**sixth, "_id": fifth["_id"], "seq": 5})


async def _insert(entries: Any) -> None:
    fifth = await entries.find_one(AT_FIVE)
    await entries.drop_indexes()
    await entries.insert_one({**fifth, "_id": "another"})


@pytest.mark.parametrize(
    ("tamper", "seq"),
    [
        pytest.param(_set(actor="somebody-else"), 5, id="the actor"),
        pytest.param(_set(at=NOON), 5, id="the time"),
        pytest.param(_set(kind="budget.deleted"), 5, id="the kind"),
        pytest.param(_set(detail='{"limit":5000}'), 5, id="the details"),
        pytest.param(_set(detail='{"limit": 4}'), 5, id="the details' spelling"),
        pytest.param(_set(detail="[" * 5000), 5, id="details that are no JSON"),
        pytest.param(_set(subject=[]), 5, id="the subject"),
        pytest.param(_set(subject=[{"name": "name", "value": "agent-4", "more": 1}]), 5, id="more of a subject"),
        pytest.param(_set(hash="0" * 64), 5, id="the hash"),
        pytest.param(_set(previous="0" * 64), 5, id="the link"),
        pytest.param(_set(note="I was here"), 5, id="a new field"),
        pytest.param(_set(seq="five"), 5, id="the number"),
        pytest.param(_set(seq=77), 5, id="another number"),
        pytest.param(lambda entries: entries.update_one(AT_FIVE, {"$unset": {"actor": 1}}), 5, id="a field removed"),
        pytest.param(lambda entries: entries.delete_one(AT_FIVE), 5, id="an entry removed"),
        pytest.param(lambda entries: entries.delete_one({"_id": f"{TENANT}:1"}), 1, id="the first removed"),
        pytest.param(_swap, 5, id="two swapped"),
        pytest.param(_insert, 5, id="one inserted"),
    ],
)
async def test_whatever_is_done_to_an_entry_is_found_and_its_place_is_named(
    database: Database, tamper: Tamper, seq: int
) -> None:
    witness = Witness(database)
    await wrote(witness, 10)
    before = await witness.verify()

    await tamper(database[COLLECTION])

    found = await witness.verify()
    assert before is None
    assert found is not None
    assert found.seq in {seq, seq + 1}, found


async def test_an_entry_that_was_moved_to_another_tenant_is_found_in_both(database: Database) -> None:
    witness = Witness(database)
    await wrote(witness, 3)

    await database[COLLECTION].update_one({"_id": f"{TENANT}:2"}, {"$set": {"tenant_id": OTHER_TENANT}})

    moved = Verification()
    for entry in await witness.entries(OTHER_TENANT):
        moved.take(entry)
    assert await witness.verify() == Break(2, "it was removed: 3 comes after 1")
    assert moved.finish() is not None


async def test_only_an_anchor_tells_that_the_end_was_cut_off(database: Database) -> None:
    witness = Witness(database)
    await wrote(witness, 6)
    anchor = await witness.head()

    await database[COLLECTION].delete_many({"seq": {"$gte": 5}})

    assert await witness.verify() is None
    assert await witness.verify([anchor]) == Break(5, "the end is missing: the chain ends at 4, the anchor is 6")


async def test_only_an_anchor_tells_that_the_end_was_written_anew(database: Database) -> None:
    witness = Witness(database)
    await wrote(witness, 6)
    anchor = await witness.head()

    await database[COLLECTION].delete_many({"seq": {"$gte": 5}})
    await wrote(witness, 3)

    assert await witness.verify() is None
    assert await witness.verify([anchor]) == Break(6, "it is not what the anchor was made of")


@pytest.mark.parametrize("is_written", [True, False])
async def test_an_act_whose_write_got_no_answer_is_written_later_and_once(database: Database, is_written: bool) -> None:
    witness = Witness(database)
    flaky = Flaky(Documents(database[COLLECTION]), failures=2, is_written=is_written)
    trail = witness.trail(flaky)

    await trail.record(TENANT, "budget.put", "a-key", {"name": "first"})
    await trail.record(TENANT, "budget.put", "a-key", {"name": "second"})

    entries = await all_written(witness, 2)
    assert sorted(entry["subject"]["name"] for entry in entries) == ["first", "second"]
    assert await witness.verify() is None
    await trail.close()
    assert len(await witness.entries()) == 2
    assert not witness.lost


async def test_a_store_that_stays_away_fails_nobody_and_what_is_lost_is_counted() -> None:
    witness = Witness(fake_mongo()["tests"])
    trail = witness.trail(Flaky(Documents(witness.database[COLLECTION]), failures=10**9, is_written=False))

    for number in range(MOST_LATE + 3):
        trail.record_soon(TENANT, "key.refused", "unknown", {"address": str(number)})
    lost_before = len(witness.lost)
    await trail.close()

    assert lost_before == 3
    assert len(witness.lost) == MOST_LATE + 3


async def test_an_act_that_cannot_be_stored_holds_up_no_other(database: Database) -> None:
    class Refusing(AuditRepository):
        async def insert(self, tenant_id: str, entries: Any) -> None:
            if any(entry["kind"] == "bad.act" for entry in entries):
                raise StoreFailure("the store refused it")
            await super().insert(tenant_id, entries)

    witness = Witness(database)
    trail = witness.trail(Refusing(Documents(database[COLLECTION])))

    await asyncio.gather(*(trail.record(TENANT, kind, "a-key", {}) for kind in ("good.act", "bad.act", "good.act")))
    await all_written(witness, 2)
    await trail.close()

    assert [entry["kind"] for entry in await witness.entries()] == ["good.act", "good.act"]
    assert len(witness.lost) == 1
    assert await witness.verify() is None


async def test_the_head_is_logged_once_an_hour_as_an_anchor(database: Database) -> None:
    witness = Witness(database)
    trail = witness.trail()

    with capture_logs() as logs:
        for _ in range(3):
            await trail.record(TENANT, "budget.put", "a-key", {"name": "CodeAgent"})
            witness.clock.advance(HEAD_PAUSE / 2)

    anchors = [Head.parse(line["anchor"]) for line in logs if line["event"] == "audit.head"]
    assert [anchor.seq for anchor in anchors] == [1, 3]
    assert await witness.verify(anchors) is None


async def test_names_that_utf_8_cannot_hold_are_kept_without_what_it_cannot(database: Database) -> None:
    witness = Witness(database)

    await witness.trail().record(TENANT, "a.b", "a-key", {"name": "a\ud800"}, {"path": "b\udc80"})

    [entry] = await witness.entries()
    assert entry["subject"] == {"name": "a?"}
    assert entry["detail"] == {"path": "b\udc80"}
    assert await witness.verify() is None


async def test_what_is_recorded_in_passing_is_written_soon_and_before_a_close(database: Database) -> None:
    witness = Witness(database)
    trail = witness.trail()

    for number in range(20):
        trail.record_soon(TENANT, "key.used", SYSTEM, {"key_id": str(number)})
    await trail.close()

    assert [entry["subject"]["key_id"] for entry in await witness.entries()] == [str(number) for number in range(20)]
    assert not witness.lost


async def test_acts_that_come_while_one_is_written_share_a_write() -> None:
    witness = Witness(fake_mongo()["tests"])
    writes = []

    class Counting(AuditRepository):
        async def insert(self, tenant_id: str, entries: Any) -> None:
            writes.append(len(entries))
            await super().insert(tenant_id, entries)

    trail = witness.trail(Counting(Documents(witness.database[COLLECTION])))

    await asyncio.gather(*(trail.record(TENANT, "a.b", "a-key", {"n": str(number)}) for number in range(100)))

    assert sum(writes) == 100
    assert len(writes) < 10
    assert await witness.verify() is None
