"""A process that asks or decides may die before or after any of its writes; the next one and the upkeep go on."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from app.database.documents import Database, Document, Documents, TenantDocuments
from app.database.errors import StoreUnavailable
from app.governance.approvals.models import Answer
from app.governance.approvals.transitions import LOOK_AGAIN, PATIENCE
from tests.approval_builders import ANN, SUBJECT, Office
from tests.job_builders import TENANT, FakeClock

YES = Answer(True)
# To ask: the question, what was recorded, when to look again. To decide: the same.
WRITES = 6


class Died(BaseException):
    """No handler of the product sees it, as none sees the end of its process."""


class Fate:
    """Lets a process die at one of its writes, before or after it."""

    def __init__(self, at: int, *, is_done: bool) -> None:
        self._at = at
        self._is_done = is_done
        self.writes = 0

    def before(self) -> None:
        self.writes += 1
        if self.writes == self._at and not self._is_done:
            raise Died

    def after(self) -> None:
        if self.writes == self._at and self._is_done:
            raise Died


class Mortal(Documents):
    def __init__(self, documents: Documents, fate: Fate) -> None:
        super().__init__(documents._collection)
        self._fate = fate

    def of_tenant(self, tenant_id: str) -> TenantDocuments:
        return MortalOfTenant(super().of_tenant(tenant_id), self._fate)

    async def insert(self, document: Document) -> None:
        self._fate.before()
        await super().insert(document)
        self._fate.after()


class MortalOfTenant(TenantDocuments):
    def __init__(self, documents: TenantDocuments, fate: Fate) -> None:
        super().__init__(documents._collection, documents.tenant_id)
        self._fate = fate

    async def update_one(self, where: Mapping[str, Any], update: Mapping[str, Any], *, upsert: bool = False) -> bool:
        self._fate.before()
        is_changed = await super().update_one(where, update, upsert=upsert)
        self._fate.after()
        return is_changed

    async def change_one(
        self, where: Mapping[str, Any], update: Mapping[str, Any], *, sort: Any = None
    ) -> Document | None:
        self._fate.before()
        changed = await super().change_one(where, update, sort=sort)
        self._fate.after()
        return changed


async def asked_and_decided(office: Office) -> None:
    approval = await office.ask()
    if approval.outcome is None:
        await office.approvals.decide(ANN, approval.id, YES)


@pytest.mark.parametrize("is_done", [False, True])
@pytest.mark.parametrize("at", range(1, WRITES + 1))
async def test_nothing_is_lost_whichever_write_is_the_last(
    database: Database, clock: FakeClock, tmp_path: Path, at: int, *, is_done: bool
) -> None:
    fate = Fate(at, is_done=is_done)
    dying = Office(database, clock, tmp_path, documents=Mortal(Documents(database["approvals"]), fate))
    with pytest.raises(Died):
        await asked_and_decided(dying)

    successor = Office(database, clock, tmp_path, work=dying.work)
    clock.advance(PATIENCE)
    await successor.upkeep.attend_due()
    await asked_and_decided(successor)
    clock.advance(PATIENCE)
    await successor.upkeep.attend_due()

    found = await successor.approvals.find_by_subject(TENANT, SUBJECT.kind, SUBJECT.key)
    assert found is not None
    assert (found.outcome, [one["by"] for one in found.decisions]) == ("approved", ["ann"])
    assert successor.work.told[-1].outcome == "approved"
    kinds = [kind for kind, _ in await successor.recorded()]
    assert kinds[0] == "approval.requested"
    assert set(kinds) == {"approval.requested", "approval.approved"}
    assert found.document["look_at"] is None


async def test_asking_and_deciding_take_as_many_writes_as_were_tried(
    database: Database, clock: FakeClock, tmp_path: Path
) -> None:
    fate = Fate(0, is_done=False)

    await asked_and_decided(Office(database, clock, tmp_path, documents=Mortal(Documents(database["approvals"]), fate)))

    assert fate.writes == WRITES


async def test_what_was_recorded_in_memory_only_is_recorded_by_the_next_process_and_twice_by_none(
    database: Database, clock: FakeClock, tmp_path: Path
) -> None:
    dying = Office(database, clock, tmp_path)
    approval = await dying.ask()
    dying.audit.insert = _is_away  # type: ignore[assignment]
    await dying.approvals.decide(ANN, approval.id, YES)
    told = dying.work.told[-1].outcome

    successor = Office(database, clock, tmp_path, work=dying.work)
    for _ in range(2):
        clock.advance(LOOK_AGAIN)
        await successor.upkeep.attend_due()

    assert told == "approved"
    assert await successor.recorded() == [("approval.requested", "asker"), ("approval.approved", "ann")]


async def _is_away(*_: Any) -> None:
    raise StoreUnavailable("the store does not answer")
