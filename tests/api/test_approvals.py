"""Approvals over HTTP: the inbox, decisions of several keys and processes, and the work that waits for them."""

import asyncio
import json
from collections.abc import AsyncIterator

import pytest

from app.artifacts.places import Part, place_of_subject
from app.bootstrap.approvals import build_approvals
from app.governance.approvals import repository, transitions
from app.governance.approvals.models import Answer, ApprovalDecided, ApprovalSubject, SubjectKind
from app.governance.approvals.terms import ApprovalTerms
from app.governance.approvals.transitions import Vote
from app.tasks.approval import held_for_approval
from tests.api.approving import (
    ANN,
    BOB,
    BOSS,
    DAN,
    EVE,
    PUBLISH,
    WATCHER,
    asked,
    decide,
    inbox,
    key_id,
    principal_of,
    shown,
    started,
)  # fmt: skip
from tests.api.conftest import StartApi
from tests.api.hands import Hands
from tests.api.harness import Json, another_process, problem_of


@pytest.fixture
async def hands(start_api: StartApi) -> AsyncIterator[Hands]:
    async for hands in started(start_api):
        yield hands


async def test_a_step_is_in_the_inboxes_of_those_who_may_decide_it(hands: Hands) -> None:
    execution_id, approval = await asked(hands)

    seen = {name: await inbox(hands.api, key) for name, key in (("dan", DAN), ("ann", ANN), ("bob", BOB), ("eve", EVE))}
    decided = await decide(hands.api, approval, ANN, comment="good", form={"reason": "new"})
    execution = await hands.go_on(execution_id)

    assert approval["subject"]["ids"]["execution_id"] == execution_id
    assert approval["subject"]["reason"] == "Publish <b>News</b>?"
    assert (approval["status"], approval["may_decide"], approval["quorum"]) == ("pending", True, 1)
    assert [len(seen[name]) for name in ("dan", "ann", "bob", "eve")] == [0, 1, 1, 0]
    assert (decided.status_code, decided.json()["status"]) == (200, "approved")
    assert await hands.outputs(execution) == {"said": "new", "by": key_id(hands.api, ANN)}
    assert await inbox(hands.api, BOB) == []
    listed = (await hands.api.get("/v1/approvals", params={"status": "approved", "kind": "step"})).json()
    assert [one["approval_id"] for one in listed["items"]] == [approval["approval_id"]]
    audit = (await hands.api.get("/v1/audit", headers=BOSS)).json()["items"]
    assert {"approval.requested", "approval.approved"} <= {entry["kind"] for entry in audit}


async def test_a_decision_by_the_steps_own_route_is_the_same_decision(hands: Hands) -> None:
    execution_id, approval = await asked(hands)

    answer = await hands.api.post(f"/v1/executions/{execution_id}/steps/check/reject", {"comment": "no"}, headers=BOB)
    late = await decide(hands.api, approval, ANN)

    assert answer.json()["waits_for"]["approval_id"] == approval["approval_id"]
    body = problem_of(late, 409, "APPROVAL_ALREADY_DECIDED")
    assert body["error"]["details"]["by"] == key_id(hands.api, BOB)
    assert (await shown(hands.api, approval))["decisions"][0]["comment"] == "no"
    assert (await hands.go_on(execution_id)).status == "failed"


async def test_of_two_processes_that_decide_at_the_same_time_one_wins(hands: Hands) -> None:
    _, approval = await asked(hands)
    ann, bob, boss = (principal_of(hands.api, key) for key in (ANN, BOB, BOSS))

    async with another_process(hands.api.settings) as core:
        here, there = hands.api.app.state.approvals, build_approvals(core)
        answers = await asyncio.gather(
            *(
                one.decide(who, approval["approval_id"], Answer(approved))
                for one, who, approved in (
                    (here, ann, True),
                    (there, bob, False),
                    (here, boss, True),
                    (there, boss, False),
                )
            ),
            return_exceptions=True,
        )

    won = [one for one in answers if not isinstance(one, BaseException)]
    assert len(won) == 1
    assert all(isinstance(one, ApprovalDecided) for one in answers if one is not won[0])
    now = await shown(hands.api, approval)
    assert len(now["decisions"]) == 1
    place = place_of_subject("red", approval["subject"]["ids"], Part.APPROVALS)
    record = json.loads(await hands.api.core.artifacts.get(place, now["evidence_sha256"]))
    assert [one["by"] for one in record["decisions"]] == [won[0].decisions[0]["by"]]


async def test_who_saw_another_version_or_says_none_decides_nothing(hands: Hands) -> None:
    _, approval = await asked(hands, PUBLISH.replace("quorum: 1", "quorum: 2"))
    path = f"/v1/approvals/{approval['approval_id']}/decisions"

    none = await hands.api.post(path, {"decision": "approve"}, headers=ANN)
    odd = await hands.api.post(path, {"decision": "approve"}, headers={**ANN, "If-Match": "3"})
    first = await decide(hands.api, approval, ANN)
    second = await decide(hands.api, approval, BOB)
    again = await decide(hands.api, approval, ANN, version=2)

    problem_of(none, 428, "PRECONDITION_REQUIRED")
    problem_of(odd, 422, "VALIDATION_ERROR")
    assert (first.status_code, first.headers["etag"]) == (200, '"2"')
    assert problem_of(second, 412, "APPROVAL_CHANGED")["error"]["details"]["by"] == key_id(hands.api, ANN)
    problem_of(again, 409, "ALREADY_VOTED")


async def test_strangers_viewers_and_who_asked_are_refused(hands: Hands) -> None:
    _, approval = await asked(hands)

    problem_of(await decide(hands.api, approval, EVE), 404, "APPROVAL_NOT_FOUND")
    problem_of(await decide(hands.api, approval, WATCHER), 403, "FORBIDDEN")
    problem_of(await decide(hands.api, approval, DAN), 403, "FORBIDDEN")
    huge = await decide(hands.api, approval, ANN, form={"reason": "x" * 20_000})
    problem_of(huge, 422, "VALIDATION_ERROR")
    deep: Json = {}
    for _ in range(40):
        deep = {"reason": deep}
    problem_of(await decide(hands.api, approval, ANN, form=deep), 422, "VALIDATION_ERROR")

    assert (await shown(hands.api, approval))["version"] == 1


async def test_a_vote_is_given_to_another_key(hands: Hands) -> None:
    _, approval = await asked(hands, PUBLISH.replace("quorum: 1", f"approvers: [{key_id(hands.api, BOSS)}]"))
    path = f"/v1/approvals/{approval['approval_id']}/delegate"
    assert approval["may_decide"] is False

    given = await hands.api.post(path, {"to": key_id(hands.api, BOB)}, headers={**BOSS, "If-Match": "*"})
    decided = await decide(hands.api, given.json(), BOB)

    assert decided.json()["decisions"][0]["on_behalf_of"] == key_id(hands.api, BOSS)


async def test_a_decision_whose_process_died_is_carried_on_by_the_upkeep(hands: Hands) -> None:
    execution_id, approval = await asked(hands)
    documents = hands.api.core.documents(repository.COLLECTION)
    approvals = repository.ApprovalRepository(documents)
    found = await approvals.find("red", approval["approval_id"])
    assert found is not None

    vote = Vote(Answer(True), principal_of(hands.api, ANN), None, {"reason": "late"})
    await approvals.change(found, transitions.voted(found, vote, hands.api.core.clock() - transitions.PATIENCE))
    assert (await hands.api.get(f"/v1/executions/{execution_id}/steps/check")).json()["status"] == "awaiting_approval"
    await hands.workers[0].upkeep.run_once()

    assert await hands.outputs(await hands.go_on(execution_id)) == {"said": "late", "by": key_id(hands.api, ANN)}


@pytest.mark.parametrize(("on_expiry", "status"), [("approve", "completed"), ("reject", "failed"), ("fail", "failed")])
async def test_an_approval_that_expires_ends_its_step_as_it_says(hands: Hands, on_expiry: str, status: str) -> None:
    text = PUBLISH.replace("quorum: 1", f"expires_in: 300ms\n      on_expiry: {on_expiry}")
    execution_id, approval = await asked(hands, text)

    execution = await hands.go_on(execution_id, until=lambda job: job.status.is_final)

    found = await shown(hands.api, approval)
    assert (execution.status, found["status"]) == (status, "expired")
    problem_of(await decide(hands.api, found, ANN), 409, "APPROVAL_ALREADY_DECIDED")


async def test_further_approvers_are_shown_with_the_step(hands: Hands) -> None:
    text = PUBLISH.replace(
        "quorum: 1", f"approvers: [{key_id(hands.api, BOSS)}]\n      escalation: {{after: 1ms, to: [member]}}"
    )
    execution_id, approval = await asked(hands, text)

    decided = await decide(hands.api, approval, ANN, version=approval["version"])
    why = (await hands.api.get(f"/v1/executions/{execution_id}/steps/check")).json()["waits_for"]["approvers"]

    # It was escalated meanwhile, so Ann has to look again.
    problem_of(decided, 412, "APPROVAL_CHANGED")
    assert why == [key_id(hands.api, BOSS), "member"]
    assert (await decide(hands.api, await shown(hands.api, approval), ANN)).json()["status"] == "approved"


async def test_a_cancelled_execution_leaves_nothing_to_approve(hands: Hands) -> None:
    execution_id, approval = await asked(hands)
    await hands.api.post(f"/v1/executions/{execution_id}/cancel")
    await hands.go_on(execution_id, until=lambda job: job.status.is_final)

    problem_of(await decide(hands.api, approval, ANN), 409, "APPROVAL_ALREADY_DECIDED")

    assert (await shown(hands.api, approval))["status"] == "cancelled"


async def test_a_task_that_is_held_goes_on_when_it_is_approved(hands: Hands) -> None:
    task_id = await hands.api.submit()
    subject = ApprovalSubject(SubjectKind.TASK, task_id, "a task", {"task_id": task_id}, "Write")
    approvals, hand = build_approvals(hands.workers[0].core), hands.api.hand()
    job = await hand.claim(task_id)
    approval = await approvals.request("red", subject, ApprovalTerms(), requested_by=key_id(hands.api, DAN))
    await hand.settle(job, held_for_approval(approval, since=hands.api.core.clock()))
    why = (await hands.api.get(f"/v1/tasks/{task_id}/why")).json()

    long = {"decision": "approve", "edited_input": "x" * (hands.api.settings.max_task_bytes + 1)}
    path = f"/v1/approvals/{approval.id}/decisions"
    refused = await hands.api.post(path, long, headers={**ANN, "If-Match": "*"})
    decided = await hands.api.post(
        path, {"decision": "approve", "edited_input": "Write well"}, headers={**ANN, "If-Match": "*"}
    )

    assert why["waiting_for"] == "approval"
    problem_of(refused, 422, "VALIDATION_ERROR")
    assert decided.json()["input"] == "Write well"
    assert "+Write well" in decided.json()["edit"]["diff"]
    assert (await hands.api.read(task_id))["status"] == "queued"
    again = await approvals.request("red", subject, ApprovalTerms(), requested_by=key_id(hands.api, DAN))
    assert (again.outcome, again.input) == ("approved", "Write well")


async def test_a_decision_that_comes_before_the_task_waits_is_not_lost(hands: Hands) -> None:
    task_id = await hands.api.submit()
    subject = ApprovalSubject(SubjectKind.TASK, task_id, "a task", {"task_id": task_id})
    approvals, hand = build_approvals(hands.workers[0].core), hands.api.hand()
    job = await hand.claim(task_id)
    approval = await approvals.request("red", subject, ApprovalTerms(), requested_by=key_id(hands.api, DAN))
    await approvals.decide(principal_of(hands.api, ANN), approval.id, Answer(True))
    await hand.settle(job, held_for_approval(approval, since=hands.api.core.clock()))

    assert (await hands.api.read(task_id))["status"] == "awaiting_approval"
    await approvals.attend(await approvals.get("red", approval.id))

    assert (await hands.api.read(task_id))["status"] == "queued"


async def test_pages_of_the_inbox_follow_each_other(hands: Hands) -> None:
    for _ in range(3):
        await asked(hands)

    first = (await hands.api.get("/v1/approvals", params={"page_size": 2})).json()
    rest = (await hands.api.get("/v1/approvals", params={"page_size": 2, "cursor": first["next_cursor"]})).json()
    none = (await hands.api.get("/v1/approvals", params={"created_before": "2020-01-01T00:00:00Z"})).json()

    assert [len(first["items"]), len(rest["items"]), none["items"]] == [2, 1, []]
    assert len({one["approval_id"] for one in (*first["items"], *rest["items"])}) == 3


async def test_the_list_is_narrowed_to_one_execution_and_whoever_may_only_read_has_an_empty_inbox(hands: Hands) -> None:
    first, approval = await asked(hands, PUBLISH.replace("quorum: 1", f"approvers: [{key_id(hands.api, ANN)}]"))
    second, _ = await asked(hands)

    of_first = (await hands.api.get("/v1/approvals", params={"execution_id": first})).json()["items"]
    of_task = (await hands.api.get("/v1/approvals", params={"task_id": first})).json()["items"]
    before = [len(await inbox(hands.api, key, execution_id=first)) for key in (ANN, BOB, WATCHER)]
    given = f"/v1/approvals/{approval['approval_id']}/delegate"
    await hands.api.post(given, {"to": key_id(hands.api, BOB)}, headers={**ANN, "If-Match": "*"})
    after = [len(await inbox(hands.api, key, execution_id=first)) for key in (ANN, BOB, WATCHER)]

    assert [one["subject"]["ids"]["execution_id"] for one in of_first] == [first]
    assert of_task == []
    assert (before, after) == ([1, 0, 0], [0, 1, 0])
    assert [len(await inbox(hands.api, key, execution_id=second)) for key in (ANN, WATCHER)] == [1, 0]
