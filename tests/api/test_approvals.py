"""Approvals over HTTP: the inbox, decisions of several keys and processes, and the work that waits for them."""

import asyncio
from collections.abc import AsyncIterator

import httpx
import pytest

from app.bootstrap.approvals import build_approvals
from app.bootstrap.execution import build_execution
from app.governance.approvals import repository, transitions
from app.governance.approvals.models import Answer, ApprovalDecided, ApprovalSubject, SubjectKind
from app.governance.approvals.terms import ApprovalTerms
from app.governance.approvals.transitions import Vote
from app.identity.keys import KeyRing
from app.identity.principals import Principal
from app.tasks.approval import held_for_approval
from tests.api.conftest import StartApi
from tests.api.hands import Hands
from tests.api.harness import Api, Json, another_process, problem_of, running_api

KEYS = (
    "key-of-dan:red:member,key-of-ann:red:member,key-of-bob:red:member,key-of-boss:red:admin,key-to-watch:red:viewer,"
    "key-of-eve:blue:admin"
)
DAN, ANN, BOB, BOSS, WATCHER, EVE = ({"X-API-Key": entry.split(":")[0]} for entry in KEYS.split(","))
PUBLISH = """
version: 1
name: publish
inputs: {title: {type: string}}
steps:
  check:
    approval:
      message: "Publish ${{ inputs.title }}?"
      quorum: 1
      form: {reason: {type: string, default: none}}
  done: {needs: [check], transform: {said: "${{ steps.check.output.form.reason }}"}}
outputs: {said: "${{ steps.done.output.said }}", by: "${{ steps.check.output.by }}"}
"""


@pytest.fixture
async def hands(start_api: StartApi) -> AsyncIterator[Hands]:
    """With keys of two tenants; Dan starts what others approve."""
    async with start_api(
        api_keys=KEYS, openai_api_key="unused", openai_base_url="http://127.0.0.1:9/v1", web_search_provider="none"
    ) as api:
        worker = await build_execution(api.settings)
        api.client.headers.update(DAN)
        hands = Hands(api, [worker], tenant_id="red")
        yield hands
        await hands.rest()
        await worker.close()


def key_id(api: Api, headers: dict[str, str]) -> str:
    return principal_of(api, headers).key_id


def principal_of(api: Api, headers: dict[str, str]) -> Principal:
    return KeyRing(api.settings.api_keys, default_tenant="red").authenticate(headers["X-API-Key"])


async def asked(hands: Hands, text: str = PUBLISH) -> tuple[str, Json]:
    """An execution that waits for an approval, and that approval as Ann sees it."""
    answer = await hands.api.client.post(
        "/v1/workflows", content=text.encode(), headers={"Content-Type": "application/yaml"}
    )
    name = answer.json()["name"]
    begun = await hands.api.post(f"/v1/workflows/{name}/execute", {"input_data": {"title": "<b>News</b>"}})
    execution_id = str(begun.json()["execution_id"])
    await hands.go_on(execution_id)
    return execution_id, (await hands.api.get("/v1/approvals", headers=ANN)).json()["items"][0]


async def inbox(api: Api, headers: dict[str, str], **params: str) -> list[Json]:
    answer = await api.get("/v1/approvals", params={"mine": "true", **params}, headers=headers)
    assert answer.status_code == 200, answer.text
    items: list[Json] = answer.json()["items"]
    return items


async def decide(
    api: Api,
    approval: Json,
    headers: dict[str, str],
    decision: str = "approve",
    *,
    version: int | None = None,
    **body: object,
) -> httpx.Response:
    etag = f'"{version or approval["version"]}"'
    path = f"/v1/approvals/{approval['approval_id']}/decisions"
    return await api.post(path, {"decision": decision, **body}, headers={**headers, "If-Match": etag})


async def shown(api: Api, approval: Json, headers: dict[str, str] = ANN) -> Json:
    answer = await api.get(f"/v1/approvals/{approval['approval_id']}", headers=headers)
    assert answer.status_code == 200, answer.text
    found: Json = answer.json()
    assert answer.headers["etag"] == f'"{found["version"]}"'
    return found


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
    assert len((await shown(hands.api, approval))["decisions"]) == 1


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


async def link_of(api: Api, approval: Json, headers: dict[str, str], **body: object) -> httpx.Response:
    return await api.post(
        f"/v1/approvals/{approval['approval_id']}/links", {"decision": "approve", **body}, headers=headers
    )


async def test_a_link_shows_first_and_decides_when_confirmed_and_only_once(hands: Hands) -> None:
    execution_id, approval = await asked(hands)
    issued = await link_of(hands.api, approval, BOSS, approver=key_id(hands.api, ANN))
    path = issued.json()["path"]
    del hands.api.client.headers["X-API-Key"]

    opened = [await hands.api.get(path) for _ in range(2)]
    before = await shown(hands.api, approval)
    confirmed = await hands.api.post(path)
    replayed, seen = await hands.api.post(path), await hands.api.get(path)

    assert all(page.status_code == 200 and '<form method="post">' in page.text for page in opened)
    assert "&lt;b&gt;News" in opened[0].text
    assert "<b>" not in opened[0].text
    assert "script" not in opened[0].headers["content-security-policy"]
    assert opened[0].headers["cache-control"] == "no-store"
    assert before["status"] == "pending"
    assert (confirmed.status_code, replayed.status_code, seen.status_code) == (200, 409, 200)
    assert "<form" not in seen.text
    (decision,) = (await shown(hands.api, approval))["decisions"]
    assert (decision["by"], decision["via"]) == (key_id(hands.api, ANN), key_id(hands.api, BOSS))
    assert (await hands.go_on(execution_id)).status == "completed"


async def test_a_link_outlives_a_restart_of_the_api(hands: Hands) -> None:
    _, approval = await asked(hands)
    path = (await link_of(hands.api, approval, ANN, decision="reject")).json()["path"]

    async with running_api(hands.api.settings) as restarted:
        confirmed = await restarted.post(path)

    assert "rejected now" in confirmed.text
    assert (await shown(hands.api, approval))["status"] == "rejected"


async def test_forged_and_foreign_links_open_nothing(hands: Hands) -> None:
    _, approval = await asked(hands)
    token = (await link_of(hands.api, approval, ANN)).json()["token"]
    event_token = (await hands.api.post(f"/v1/tasks/{await hands.api.submit()}/events/token")).json()["token"]
    head, _, signature = token.rpartition(".")

    for forged in (head, f"{head}.{signature[::-1]}", f"x{token}", token + "x" * 2000, event_token, "%00"):
        for method in ("GET", "POST"):
            # A valid key beside a forged link does not open it.
            answer = await hands.api.client.request(method, f"/v1/approvals/links/{forged}", headers=ANN)
            assert answer.status_code in {401, 404}, forged
    async with running_api(
        hands.api.settings.model_copy(update={"api_keys": hands.api.settings.api_keys[2:]})
    ) as other:
        assert (await other.post(f"/v1/approvals/links/{token}")).status_code == 401

    assert (await shown(hands.api, approval))["version"] == 1


async def test_links_are_made_by_their_approver_or_an_admin_who_did_not_ask(hands: Hands) -> None:
    _, approval = await asked(hands, PUBLISH.replace("quorum: 1", f"approvers: [{key_id(hands.api, ANN)}]"))
    bob = key_id(hands.api, BOB)

    problem_of(await link_of(hands.api, approval, ANN, approver=bob), 403, "FORBIDDEN")
    problem_of(await link_of(hands.api, approval, DAN), 403, "FORBIDDEN")
    problem_of(await link_of(hands.api, approval, BOSS, approver=bob), 403, "FORBIDDEN")
    problem_of(await link_of(hands.api, approval, BOSS, approver=key_id(hands.api, EVE)), 422, "VALIDATION_ERROR")
    problem_of(await link_of(hands.api, approval, EVE), 404, "APPROVAL_NOT_FOUND")
    assert (await link_of(hands.api, approval, ANN)).status_code == 201


async def test_a_link_to_approve_what_asks_for_a_form_is_not_made(hands: Hands) -> None:
    _, approval = await asked(hands, PUBLISH.replace("default: none", "min_length: 1"))

    problem_of(await link_of(hands.api, approval, ANN), 422, "VALIDATION_ERROR")
    assert (await link_of(hands.api, approval, ANN, decision="reject")).status_code == 201
