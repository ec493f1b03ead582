"""An approval that is over has a record, and names it in the write that ends it."""

import json
from pathlib import Path
from typing import Any

import pytest

from app.artifacts.places import Part, place_of_subject
from app.artifacts.store import ArtifactStore, ArtifactStoreUnavailable
from app.database.documents import Database, Documents, TenantDocuments
from app.governance.approvals.models import Answer, Approval
from tests.approval_builders import ANN, BOB, CAT, SUBJECT, Office
from tests.job_builders import SECOND, TENANT, FakeClock

PLACE = place_of_subject(TENANT, SUBJECT.ids, Part.APPROVALS)


class Unwilling(Documents):
    """Dies with its process instead of changing anything."""

    def of_tenant(self, tenant_id: str) -> TenantDocuments:
        return _Unwilling(self._collection, tenant_id)


class _Unwilling(TenantDocuments):
    async def change_one(self, *_: Any, **__: Any) -> Any:
        raise KeyboardInterrupt


@pytest.fixture
def office(database: Database, clock: FakeClock, tmp_path: Path) -> Office:
    return Office(database, clock, tmp_path)


async def record_of(approval: Approval, folder: Path) -> dict[str, Any]:
    assert approval.evidence is not None
    found: dict[str, Any] = json.loads(await ArtifactStore(str(folder)).get(PLACE, approval.evidence["sha256"]))
    return found


def blobs_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.rglob("*") if path.is_file())


async def test_only_what_ends_it_leaves_a_record_of_all_that_was_said(office: Office, tmp_path: Path) -> None:
    approval = await office.ask(quorum=2, delegation=True)

    await office.approvals.delegate(BOB, approval.id, CAT.key_id, comment="away")
    open_still = await office.approvals.decide(ANN, approval.id, Answer(True, comment="fine"))
    before = blobs_in(tmp_path)
    ended = await office.approvals.decide(CAT, approval.id, Answer(True, comment="fine with me"))

    record = await record_of(ended, tmp_path)
    assert (open_still.evidence, before) == (None, [])
    assert blobs_in(tmp_path) == [ended.evidence["sha256"]] if ended.evidence else False
    assert [one["comment"] for one in record["decisions"]] == ["fine", "fine with me"]
    assert [(one["by"], one["to"]) for one in record["delegations"]] == [(BOB.key_id, CAT.key_id)]
    assert record["terms"] == {"quorum": 2, "delegation": True}
    assert [one["event"] for one in record["history"]] == ["requested", "delegated", "approved", "approved"]
    assert record["version"] == ended.version


async def test_one_that_nobody_decided_in_time_has_one_too(office: Office, tmp_path: Path) -> None:
    approval = await office.ask(expires_in="20s", on_expiry="reject")
    office.wait(20 * SECOND)

    await office.upkeep.attend_due()
    ended = await office.read(approval)

    record = await record_of(ended, tmp_path)
    assert (record["status"], record["outcome"], record["decisions"]) == ("expired", "rejected", [])
    assert record["history"][-1]["by"] == "expiry"


async def test_what_nobody_waits_for_any_more_was_not_decided(office: Office, tmp_path: Path) -> None:
    approval = await office.ask()
    office.work.waits = False
    office.wait(60 * SECOND)

    await office.upkeep.attend_due()

    given_up = await office.read(approval)
    assert (given_up.status.value, given_up.evidence, blobs_in(tmp_path)) == ("cancelled", None, [])


async def test_a_process_that_dies_before_its_decision_is_stored_leaves_only_a_blob(
    office: Office, database: Database, clock: FakeClock, tmp_path: Path
) -> None:
    approval = await office.ask()
    dying = Office(database, clock, tmp_path, documents=Unwilling(database["approvals"]))

    with pytest.raises(KeyboardInterrupt):
        await dying.approvals.decide(ANN, approval.id, Answer(True, comment="of the dead"))
    left = await office.read(approval)
    ended = await office.approvals.decide(BOB, approval.id, Answer(False, comment="of the living"))

    record = await record_of(ended, tmp_path)
    assert (left.status.value, left.evidence, len(blobs_in(tmp_path))) == ("pending", None, 2)
    assert [one["comment"] for one in record["decisions"]] == ["of the living"]


async def test_nothing_is_decided_while_its_record_cannot_be_kept(
    office: Office, database: Database, clock: FakeClock, tmp_path: Path
) -> None:
    approval = await office.ask()
    (tmp_path / "file").write_text("no folder")
    cut_off = Office(database, clock, tmp_path / "file")

    with pytest.raises(ArtifactStoreUnavailable):
        await cut_off.approvals.decide(ANN, approval.id, Answer(True))

    assert (await office.read(approval)).status.value == "pending"
