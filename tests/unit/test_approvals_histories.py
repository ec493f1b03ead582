"""Whatever people do in whatever order, an approval is decided once; and it goes with the work it was about."""

import asyncio
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.artifacts.store import ArtifactStore
from app.database.documents import Database, Documents
from app.errors import Conflict, NotPermitted
from app.governance.approvals.invariants import unattended
from app.governance.approvals.models import Answer, Approval, ApprovalSubject, SubjectKind
from app.governance.approvals.repository import ApprovalRepository
from app.governance.approvals.retention import delete_approvals_of
from app.governance.approvals.transitions import cancelled
from app.identity.principals import Principal
from app.invariants.models import Watched
from app.jobs.retention import DeleteBelongings, ExpiredJob
from app.settings import Role
from app.tasks.artifacts import delete_artifacts_of
from tests.approval_builders import ANN, ASKER, BOB, CAT, ROOT, Office
from tests.fakes.mongo import fake_mongo
from tests.job_builders import OTHER_TENANT, SECOND, TENANT, FakeClock

Act = tuple[str, int, str]
ACTS = st.lists(
    st.tuples(
        st.sampled_from(["approve", "reject", "edit", "delegate", "wait", "attend"]), st.integers(0, 4), st.text("ab")
    ),
    max_size=12,
)


@given(acts=ACTS, quorum=st.integers(1, 3), at_once=st.booleans())
@settings(max_examples=60, deadline=None)
def test_an_approval_is_decided_once_and_by_as_many_as_it_takes(acts: list[Act], quorum: int, *, at_once: bool) -> None:
    with TemporaryDirectory() as folder:
        asyncio.run(_lived_through(Path(folder), acts, quorum, at_once=at_once))


async def _lived_through(folder: Path, acts: list[Act], quorum: int, *, at_once: bool) -> None:
    office = Office(fake_mongo()["tests"], FakeClock(), folder)
    approval = await office.ask(quorum=quorum, expires_in="1h", on_expiry="fail")
    steps = [_done(office, approval, act) for act in acts]
    if at_once:
        await asyncio.gather(*steps)
    else:
        outcomes = []
        for step in steps:
            await step
            outcomes.append((await office.read(approval)).outcome)
        decided = [outcome for outcome in outcomes if outcome is not None]
        assert len(set(decided)) <= 1
        assert decided == outcomes[len(outcomes) - len(decided) :]
    _check(await office.read(approval), quorum)


async def _done(office: Office, approval: Approval, act: Act) -> None:
    what, who, text = act
    person = (ASKER, ANN, BOB, CAT, ROOT)[who]
    try:
        if what == "wait":
            office.wait(timedelta(minutes=20))
        elif what == "attend":
            await office.approvals.attend(await office.read(approval))
        elif what == "delegate":
            await office.approvals.delegate(person, approval.id, "ann" if person is BOB else "bob")
        else:
            edited = f"edited {text}" if what == "edit" else None
            await office.approvals.decide(person, approval.id, Answer(what != "reject", edited_input=edited))
    except (Conflict, NotPermitted):
        return


def _check(approval: Approval, quorum: int) -> None:
    history = approval.document["history"]
    assert approval.version == len(history)
    assert ASKER.key_id not in {one["by"] for one in approval.decisions}
    votes = [one["by"] for one in approval.votes if one["decision"] == "approved"]
    assert len(votes) == len(set(votes))
    assert (approval.status == "approved") == (approval.outcome == "approved")
    if approval.status == "approved":
        assert len(votes) == quorum
    elif approval.status == "pending":
        assert len(votes) < quorum
        assert all(one["decision"] == "approved" for one in approval.decisions)
    ends = [one for one in history if one["event"] in {"rejected", "expired"} or one["detail"].get("is_last")]
    assert ends == ([] if approval.status == "pending" else [history[-1]])


async def test_the_same_asked_at_the_same_time_is_one_approval(
    database: Database, clock: FakeClock, tmp_path: Path
) -> None:
    office = Office(database, clock, tmp_path)

    asked = await asyncio.gather(*(office.ask() for _ in range(5)))

    assert len({one.id for one in asked}) == 1
    assert await database["approvals"].count_documents({}) == 1


async def test_no_write_undoes_a_decision(database: Database, clock: FakeClock, tmp_path: Path) -> None:
    office = Office(database, clock, tmp_path)
    decided = await office.approvals.decide(ANN, (await office.ask()).id, Answer(True))

    changed = await ApprovalRepository(Documents(database["approvals"])).change(decided, cancelled(clock()))

    assert changed is None
    assert (await office.read(decided)).status == "approved"


async def test_who_may_only_read_is_no_approver(database: Database, clock: FakeClock, tmp_path: Path) -> None:
    office = Office(database, clock, tmp_path)
    reader = Principal(TENANT, Role.VIEWER, "reader")
    approval = await office.ask(approvers=["viewer", "reader"])

    assert not office.approvals.may_decide(approval, reader)
    with pytest.raises(NotPermitted):
        await office.approvals.decide(reader, approval.id, Answer(True))


async def test_approvals_go_with_their_work_and_with_what_was_proposed(
    database: Database, clock: FakeClock, tmp_path: Path
) -> None:
    office = Office(database, clock, tmp_path)
    large = ApprovalSubject(SubjectKind.TASK, "t1", "a task", {"task_id": "t1"}, "x" * 20_000)
    gone, kept = (
        await office.ask(large),
        await office.ask(ApprovalSubject(SubjectKind.TASK, "t2", "t", {"task_id": "t2"})),
    )
    await office.approvals.decide(ANN, gone.id, Answer(True, edited_input="y" * 20_000))
    documents, blobs = Documents(database["approvals"]), _files_in(tmp_path)
    deletions = [delete_approvals_of(documents, "task_id"), delete_artifacts_of(ArtifactStore(str(tmp_path)))]

    await _delete(deletions, ExpiredJob("t1", OTHER_TENANT))
    there = await office.approvals.find_by_subject(TENANT, SubjectKind.TASK, "t1")
    await _delete(deletions, ExpiredJob("t1", TENANT))

    assert (len(blobs), there is not None) == (3, True)
    assert [one["_id"] for one in await documents.find_many({}, limit=10)] == [kept.id]
    assert _files_in(tmp_path) == []


async def test_an_approval_that_nobody_attends_to_is_found(
    database: Database, clock: FakeClock, tmp_path: Path
) -> None:
    office = Office(database, clock, tmp_path)
    approval = await office.ask(expires_in="20s")
    check = unattended(Watched("approval_id", Documents(database["approvals"])), clock=clock, patience=SECOND)
    clock.advance(20 * SECOND)
    in_time = await check.list_offenders(limit=10)
    clock.advance(SECOND)

    late = await check.list_offenders(limit=10)
    await office.upkeep.attend_due()
    clock.advance(timedelta(days=1))

    assert (in_time, [one["approval_id"] for one in late]) == ([], [approval.id])
    assert await check.list_offenders(limit=10) == []


async def _delete(deletions: Sequence[DeleteBelongings], job: ExpiredJob) -> None:
    for delete in deletions:
        await delete([job])


def _files_in(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]
