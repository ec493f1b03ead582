"""Approvals: who may decide, what decides, and what becomes of those that nobody decides."""

from datetime import timedelta
from pathlib import Path

import pytest

from app.database.documents import Database
from app.database.errors import StoreUnavailable
from app.errors import Conflict, Invalid, NotPermitted, OrchestratorError
from app.governance.approvals.models import (
    AlreadyVoted,
    Answer,
    ApprovalChanged,
    ApprovalDecided,
    ApprovalNotFound,
    ApprovalSubject,
    SubjectKind,
)
from app.governance.approvals.rules import MOST_DECISIONS
from app.governance.approvals.terms import ApprovalTerms
from app.governance.approvals.transitions import LOOK_AGAIN, PATIENCE
from app.identity.keys import ANONYMOUS
from app.identity.principals import Principal
from app.settings import Role
from tests.approval_builders import ANN, ASKER, BOB, CAT, ROOT, STRANGER, SUBJECT, TEXT, Office
from tests.job_builders import SECOND, TENANT, FakeClock

YES, NO = Answer(True), Answer(False, "not like this")
MINUTE, HOUR = timedelta(minutes=1), timedelta(hours=1)


@pytest.fixture
def office(database: Database, clock: FakeClock, tmp_path: Path) -> Office:
    return Office(database, clock, tmp_path)


async def test_what_is_asked_twice_is_asked_once(office: Office) -> None:
    first = await office.ask(quorum=2)
    await office.approvals.decide(ANN, first.id, YES)

    again = await office.ask(quorum=1)

    assert (again.id, again.terms.quorum, len(again.votes)) == (first.id, 2, 1)
    assert await office.approvals.find_by_subject(TENANT, SubjectKind.TASK, "t1") == again
    assert await office.approvals.find_by_subject(TENANT, SubjectKind.TASK, "t2") is None


async def test_as_many_as_the_quorum_approve_and_then_its_owner_is_told(office: Office) -> None:
    approval = await office.ask(quorum=2)

    first = await office.approvals.decide(ANN, approval.id, YES)
    second = await office.approvals.decide(BOB, approval.id, Answer(True, "fine"))

    assert (first.status, first.outcome) == ("pending", None)
    assert (second.status, second.outcome) == ("approved", "approved")
    assert [one.version for one in office.work.told] == [1, 2, 3]
    assert await office.recorded() == [
        ("approval.requested", "asker"),
        ("approval.approved", "ann"),
        ("approval.approved", "bob"),
    ]


async def test_one_rejection_decides(office: Office) -> None:
    approval = await office.ask(quorum=3)
    await office.approvals.decide(ANN, approval.id, YES)

    rejected = await office.approvals.decide(BOB, approval.id, NO)

    assert (rejected.status, rejected.outcome) == ("rejected", "rejected")
    with pytest.raises(ApprovalDecided, match=r"rejected since .* by bob"):
        await office.approvals.decide(CAT, approval.id, YES)


@pytest.mark.parametrize("answer", [YES, NO])
async def test_who_asked_may_not_decide_whatever_the_role(office: Office, answer: Answer) -> None:
    approval = await office.ask()
    as_admin = Principal(TENANT, Role.ADMIN, ASKER.key_id)

    for asker in (ASKER, as_admin):
        with pytest.raises(NotPermitted, match="asked for it"):
            await office.approvals.decide(asker, approval.id, answer)
    with pytest.raises(NotPermitted, match="asked for it"):
        await office.approvals.delegate(ANN, approval.id, ASKER.key_id)

    assert (await office.read(approval)).version == 1


async def test_terms_may_let_who_asked_decide(office: Office) -> None:
    approval = await office.ask(self_approval=True)

    assert (await office.approvals.decide(ASKER, approval.id, YES)).status == "approved"


async def test_where_no_key_is_asked_for_everybody_may_decide(office: Office) -> None:
    nobody = Principal(TENANT, Role.ADMIN, ANONYMOUS)
    approval = await office.approvals.request(TENANT, SUBJECT, ApprovalTerms(), requested_by=ANONYMOUS)

    assert (await office.approvals.decide(nobody, approval.id, YES)).status == "approved"


@pytest.mark.parametrize(
    ("approvers", "who", "may"),
    [
        ([], CAT, True),
        (["cat"], CAT, True),
        (["member"], CAT, True),
        (["legal"], ANN, True),
        (["legal"], CAT, False),
        (["ann", "finance"], CAT, False),
        (["admin"], CAT, False),
        (["finance"], ROOT, True),
    ],
)
async def test_approvers_are_keys_roles_or_groups_and_admins_always(
    office: Office, approvers: list[str], who: Principal, *, may: bool
) -> None:
    approval = await office.ask(approvers=approvers)

    assert office.approvals.may_decide(approval, who) is may
    if may:
        assert (await office.approvals.decide(who, approval.id, YES)).status == "approved"
    else:
        with pytest.raises(NotPermitted, match=approvers[0]):
            await office.approvals.decide(who, approval.id, YES)


async def test_another_tenant_finds_nothing(office: Office) -> None:
    approval = await office.ask()

    for act in (
        office.approvals.decide(STRANGER, approval.id, YES),
        office.approvals.delegate(STRANGER, approval.id, "ann"),
        office.approvals.get(STRANGER.tenant_id, approval.id),
        office.approvals.get(TENANT, "../etc"),
    ):
        with pytest.raises(ApprovalNotFound):
            await act


async def test_a_key_votes_once(office: Office) -> None:
    approval = await office.ask(quorum=2)
    await office.approvals.decide(ANN, approval.id, YES)

    for answer in (YES, NO):
        with pytest.raises(AlreadyVoted):
            await office.approvals.decide(ANN, approval.id, answer)

    assert (await office.read(approval)).status == "pending"


async def test_a_decision_about_what_was_changed_since_is_refused_and_says_by_whom(office: Office) -> None:
    approval = await office.ask(quorum=2)
    await office.approvals.decide(ANN, approval.id, YES, version=1)

    with pytest.raises(ApprovalChanged, match="version 2 now: approved by ann"):
        await office.approvals.decide(BOB, approval.id, YES, version=1)

    assert (await office.approvals.decide(BOB, approval.id, YES, version=2)).status == "approved"


async def test_an_edit_is_kept_with_its_difference_and_asks_everybody_again(office: Office) -> None:
    approval = await office.ask(quorum=2)
    await office.approvals.decide(ANN, approval.id, YES)

    edited = await office.approvals.decide(BOB, approval.id, Answer(True, edited_input=TEXT.replace("Ada", "Bob")))
    decided = await office.approvals.decide(ANN, approval.id, YES)

    assert (edited.status, len(edited.votes), edited.input) == ("pending", 1, "Send the offer\nto Bob\n")
    assert "-to Ada\n+to Bob" in edited.document["edit"]["diff"]
    assert (decided.status, decided.is_edited, decided.input) == ("approved", True, "Send the offer\nto Bob\n")
    assert await office.approvals.proposed_input(decided) == TEXT


async def test_an_answer_about_an_earlier_input_is_refused(office: Office) -> None:
    approval = await office.ask(quorum=2)
    await office.approvals.decide(BOB, approval.id, Answer(True, edited_input="Send nothing"))

    with pytest.raises(ApprovalChanged, match="changed by bob"):
        await office.approvals.decide(ANN, approval.id, Answer(True, revision=1))


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (Answer(True, edited_input=" \n"), "empty"),
        (Answer(False, edited_input="x"), "leave edited_input out"),
        (Answer(True, edited_input="not JSON"), "not JSON"),
        (Answer(True, edited_input="[" * 100_000), "not JSON"),
        (Answer(True, edited_input='{"to": 1}'), r"to \(type\)"),
        (Answer(True, edited_input="{}"), r"to \(missing\)"),
    ],
    ids=lambda given: str(given)[:30],
)
async def test_an_edit_that_breaks_the_contract_is_refused(office: Office, answer: Answer, message: str) -> None:
    schema = {"type": "object", "properties": {"to": {"type": "string"}}, "required": ["to"]}
    subject = ApprovalSubject(SubjectKind.TOOL, "c1", "mail", {"task_id": "t1"}, '{"to": "ada"}', schema)
    approval = await office.ask(subject)

    with pytest.raises(Invalid, match=message):
        await office.approvals.decide(ANN, approval.id, answer)

    assert (await office.read(approval)).version == 1
    edited = await office.approvals.decide(ANN, approval.id, Answer(True, edited_input='{"to": "bob"}'))
    assert edited.input == '{"to": "bob"}'


async def test_what_proposes_nothing_cannot_be_edited(office: Office) -> None:
    approval = await office.ask(ApprovalSubject(SubjectKind.TASK, "t9", "a task", {"task_id": "t9"}))

    with pytest.raises(Invalid, match="no input"):
        await office.approvals.decide(ANN, approval.id, Answer(True, edited_input="x"))


async def test_a_large_input_is_kept_beside_and_found_again(office: Office) -> None:
    text = "long " * 20_000
    approval = await office.ask(ApprovalSubject(SubjectKind.TASK, "t3", "a task", {"task_id": "t3"}, text))

    assert approval.input == text
    assert "sha256" in approval.document["subject"]["input"]


async def test_a_form_must_fit_and_has_its_defaults(office: Office) -> None:
    form = {"limit": {"type": "integer", "maximum": 10}, "note": {"type": "string", "default": "none"}}
    approval = await office.ask(form=form)

    for given in ({}, {"limit": 11}, {"limit": "1"}, {"limit": 1, "more": 1}, {"limit": 1, "note": "x" * 20_000}):
        with pytest.raises(Invalid):
            await office.approvals.decide(ANN, approval.id, Answer(True, form=given))
    decided = await office.approvals.decide(ANN, approval.id, Answer(True, form={"limit": 1}))

    assert decided.decisions[0]["form"] == '{"limit": 1, "note": "none"}'


async def test_a_vote_is_given_away_once_and_not_given_on(office: Office) -> None:
    approval = await office.ask(approvers=["legal"], quorum=2)

    await office.approvals.delegate(ANN, approval.id, "cat")
    with pytest.raises(NotPermitted, match="given its vote to cat"):
        await office.approvals.decide(ANN, approval.id, YES)
    with pytest.raises(NotPermitted, match="cannot be given on"):
        await office.approvals.delegate(CAT, approval.id, "bob")
    decided = await office.approvals.decide(CAT, approval.id, YES)

    assert decided.decisions[0]["on_behalf_of"] == "ann"
    with pytest.raises(AlreadyVoted):
        await office.approvals.decide(CAT, approval.id, YES)
    assert (await office.approvals.decide(BOB, approval.id, YES)).status == "approved"


async def test_only_a_vote_of_ones_own_is_given_and_only_to_keys_that_exist(office: Office) -> None:
    approval, kept = await office.ask(approvers=["legal"]), SUBJECT
    for to in ("nobody", "ann", "eve"):
        with pytest.raises(Invalid, match="another key of this tenant"):
            await office.approvals.delegate(ANN, approval.id, to)
    with pytest.raises(NotPermitted, match="legal"):
        await office.approvals.delegate(CAT, approval.id, "bob")

    strict = ApprovalSubject(kept.kind, "t4", kept.title, {"task_id": "t4"})
    with pytest.raises(NotPermitted, match="nobody give"):
        await office.approvals.delegate(ANN, (await office.ask(strict, delegation=False)).id, "bob")


@pytest.mark.parametrize(
    ("on_expiry", "outcome"), [("approve", "approved"), ("reject", "rejected"), ("fail", "failed")]
)
async def test_what_nobody_decides_in_time_comes_to_what_its_terms_say(
    office: Office, on_expiry: str, outcome: str
) -> None:
    approval = await office.ask(expires_in="1h", on_expiry=on_expiry)

    office.wait(HOUR - SECOND)
    await office.upkeep.attend_due()
    before = await office.read(approval)
    office.wait(SECOND)
    await office.upkeep.attend_due()

    expired = await office.read(approval)
    assert (before.status, expired.status, expired.outcome) == ("pending", "expired", outcome)
    assert office.work.told[-1].outcome == outcome
    assert (await office.recorded())[-1] == ("approval.expired", "expiry")


async def test_a_late_decision_finds_it_expired_before_any_upkeep(office: Office) -> None:
    approval = await office.ask(expires_in="1h")
    office.wait(HOUR)

    with pytest.raises(ApprovalDecided, match="expired"):
        await office.approvals.decide(ANN, approval.id, YES)

    assert (await office.read(approval)).outcome == "rejected"


async def test_further_approvers_may_decide_after_a_while(office: Office) -> None:
    approval = await office.ask(approvers=["ann"], escalation={"after": "1m", "to": ["cat"]}, expires_in="1h")
    with pytest.raises(NotPermitted):
        await office.approvals.decide(CAT, approval.id, YES)

    office.wait(MINUTE)
    await office.upkeep.attend_due()

    escalated = await office.read(approval)
    assert (escalated.approvers, escalated.document["escalates_at"]) == (["ann", "cat"], None)
    assert (await office.approvals.decide(CAT, approval.id, YES)).status == "approved"


async def test_an_escalation_that_the_upkeep_has_not_made_yet_counts(office: Office) -> None:
    approval = await office.ask(approvers=["ann"], escalation={"after": "1m", "to": ["cat"]})
    office.wait(MINUTE)

    assert (await office.approvals.decide(CAT, approval.id, YES)).status == "approved"


async def test_what_nothing_waits_for_any_more_is_cancelled(office: Office) -> None:
    looked, asked = await office.ask(), ApprovalSubject(SubjectKind.TASK, "t5", "a task", {"task_id": "t5"})
    decided = await office.ask(asked)
    office.work.waits = False

    with pytest.raises(ApprovalDecided, match="cancelled"):
        await office.approvals.decide(ANN, decided.id, YES)
    office.wait(LOOK_AGAIN)
    await office.upkeep.attend_due()

    assert (await office.read(looked)).status == "cancelled"
    assert (await office.read(looked)).outcome is None


async def test_what_was_cancelled_is_asked_anew_and_what_was_decided_is_not(office: Office) -> None:
    approval = await office.ask(quorum=2)
    await office.approvals.decide(ANN, approval.id, YES)
    office.work.waits = False
    await office.approvals.attend(await office.read(approval))
    office.work.waits = True

    again = await office.ask(quorum=2, expires_in="1h")
    first = await office.approvals.decide(ANN, approval.id, YES)
    decided = await office.approvals.decide(BOB, approval.id, NO)

    assert (again.id, again.status, again.votes) == (approval.id, "pending", [])
    assert again.expires_at == office.clock() + HOUR
    assert (first.status, decided.status, (await office.ask()).status) == ("pending", "rejected", "rejected")


async def test_an_owner_that_could_not_be_told_is_told_later_and_the_decision_stands(office: Office) -> None:
    approval = await office.ask()
    office.work.failures = [StoreUnavailable("away"), StoreUnavailable("away")]

    decided = await office.approvals.decide(ANN, approval.id, YES)
    office.wait(PATIENCE)
    await office.upkeep.attend_due()
    office.wait(MINUTE)
    await office.upkeep.attend_due()
    await office.upkeep.attend_due()

    assert decided.status == "approved"
    assert [one.version for one in office.work.told] == [1, 2]
    assert await office.recorded() == [("approval.requested", "asker"), ("approval.approved", "ann")]


async def test_an_owner_that_is_not_there_yet_is_told_when_it_is(office: Office) -> None:
    approval = await office.ask()
    office.work.is_there = False
    await office.approvals.decide(ANN, approval.id, YES)
    told = len(office.work.told)

    office.work.is_there = True
    office.wait(PATIENCE)
    await office.upkeep.attend_due()
    office.wait(HOUR)

    assert len(office.work.told) == told + 1
    assert await office.upkeep.attend_due() == 0


async def test_one_that_cannot_be_attended_to_keeps_no_other_waiting(office: Office) -> None:
    await office.ask()
    other = await office.ask(ApprovalSubject(SubjectKind.TASK, "t6", "a task", {"task_id": "t6"}), expires_in="1m")
    office.wait(MINUTE)
    office.work.failures = [OrchestratorError("no")]

    await office.upkeep.attend_due()

    assert (await office.read(other)).status == "expired"


async def test_decisions_have_a_bound(office: Office) -> None:
    approval = await office.ask(quorum=2)
    earlier = [{"by": "ann", "revision": 0}] * MOST_DECISIONS
    await office.database["approvals"].update_one({"_id": approval.id}, {"$set": {"decisions": earlier}})

    with pytest.raises(Conflict, match=f"{MOST_DECISIONS} decisions"):
        await office.approvals.decide(BOB, approval.id, YES)
