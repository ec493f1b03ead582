"""What people and other systems do to executions: approve, reject, signal, pause, cancel, retry, fork."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from app.bootstrap.execution import build_execution
from tests.api.conftest import StartApi
from tests.api.hands import Hands
from tests.api.harness import Api, Json, problem_of
from tests.api.test_executions import FAILING, read, started
from tests.api.world import World

APPROVING = """
version: 1
name: approving
steps:
  check:
    approval: {message: "Publish it?", form: {reason: {type: string}}}
  publish:
    needs: [check]
    transform: {reason: "${{ steps.check.output.form.reason }}", by: "${{ steps.check.output.by }}"}
outputs:
  reason: "${{ steps.publish.output.reason }}"
"""
QUORUM = """
version: 1
name: quorum
steps:
  check:
    approval: {quorum: 2, approvers: [member, admin]}
outputs:
  by: "${{ steps.check.output.by }}"
"""
WAITING = """
version: 1
name: waiting
inputs: {order: {type: string, default: o1}}
steps:
  paid:
    wait: {event: payment.received, key: "${{ inputs.order }}"}
    output: {event: {type: string}, data: {type: object, properties: {amount: {type: number}}}}
outputs:
  amount: "${{ steps.paid.output.data.amount }}"
"""
KEYS = (
    "key-of-dan:red:member,key-of-ann:red:member,key-of-bob:red:member,key-to-watch:red:viewer,key-of-eve:blue:member"
)
DAN, ANN, BOB, WATCHER, EVE = (
    {"X-API-Key": key} for key in ("key-of-dan", "key-of-ann", "key-of-bob", "key-to-watch", "key-of-eve")
)


@pytest.fixture
async def hands(world: World) -> AsyncIterator[Hands]:
    hands = Hands(world.api, [world.worker])
    yield hands
    await hands.rest()


async def act(api: Api, execution_id: str, verb: str, body: Any = None, **options: Any) -> httpx.Response:
    return await api.post(f"/v1/executions/{execution_id}/{verb}", body, **options)


async def acted(api: Api, execution_id: str, verb: str, body: Any = None, **options: Any) -> Json:
    answer = await act(api, execution_id, verb, body, **options)
    assert answer.status_code == 202, answer.text
    found: Json = answer.json()
    return found


async def waiting(hands: Hands, text: str, inputs: Json | None = None) -> str:
    """An execution that waits for somebody."""
    execution_id = await started(hands.api, text, inputs)
    assert not (await hands.go_on(execution_id)).status.is_final
    return execution_id


async def test_an_approval_with_its_form_lets_the_execution_go_on(hands: Hands) -> None:
    execution_id = await waiting(hands, APPROVING)
    status, why = await read(hands.api, execution_id, "/status"), await read(hands.api, execution_id, "/why")

    step = await acted(hands.api, execution_id, "steps/check/approve", {"comment": "fine", "form": {"reason": "good"}})
    execution = await hands.go_on(execution_id)
    shown = await read(hands.api, execution_id, "/steps/check")

    assert status["status"] == "awaiting_approval"
    (current,) = status["current_steps"]
    assert (current["path"], current["status"]) == ("check", "awaiting_approval")
    assert current["waits_for"]["message"] == "Publish it?"
    assert why["waiting_for"] == "approval"
    assert "check waits for the approval of anybody" in why["explanation"]
    assert (step["path"], step["status"]) == ("check", "succeeded")
    assert await hands.outputs(execution) == {"reason": "good"}
    assert shown["output"] == {"approved": True, "by": "anonymous", "comment": "fine", "form": {"reason": "good"}}
    assert [(vote["by"], vote["approved"]) for vote in shown["votes"]] == [("anonymous", True)]


async def test_a_form_that_does_not_fit_is_refused_and_the_step_waits_on(hands: Hands) -> None:
    execution_id = await waiting(hands, APPROVING)

    for form in ({}, {"reason": 1}, {"reason": "x", "more": 1}):
        answer = await act(hands.api, execution_id, "steps/check/approve", {"form": form})
        problem_of(answer, 422, "VALIDATION_ERROR")

    assert (await read(hands.api, execution_id))["status"] == "awaiting_approval"
    await acted(hands.api, execution_id, "steps/check/reject")


async def test_a_rejection_fails_the_step_at_once(hands: Hands) -> None:
    execution_id = await waiting(hands, APPROVING)

    await acted(hands.api, execution_id, "steps/check/reject", {"comment": "no"})
    late = await act(hands.api, execution_id, "steps/check/approve", {"form": {"reason": "x"}})
    execution = await hands.go_on(execution_id)
    later = await act(hands.api, execution_id, "steps/check/approve", {"form": {"reason": "x"}})

    problem_of(late, 409, "STEP_NOT_WAITING")
    problem_of(later, 409, "EXECUTION_ALREADY_FINISHED")
    assert execution.status == "failed"
    error = (await read(hands.api, execution_id))["error"]
    assert (error["type"], error["path"]) == ("APPROVAL_REJECTED", "check")


async def test_of_answers_at_the_same_time_one_decides(hands: Hands) -> None:
    execution_id = await waiting(hands, APPROVING)
    form = {"form": {"reason": "good"}}

    answers = await asyncio.gather(
        *(act(hands.api, execution_id, f"steps/check/{verb}", form) for verb in ("approve", "reject") * 3)
    )

    assert sorted(answer.status_code for answer in answers) == [202, 409, 409, 409, 409, 409]


async def test_what_does_not_wait_for_an_approval_takes_none(hands: Hands) -> None:
    execution_id = await waiting(hands, WAITING)

    problem_of(await act(hands.api, execution_id, "steps/paid/approve"), 409, "STEP_NOT_WAITING")
    problem_of(await act(hands.api, execution_id, "steps/check/approve"), 404, "STEP_NOT_FOUND")


@pytest.fixture
async def shared(start_api: StartApi) -> AsyncIterator[Hands]:
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


async def test_a_quorum_is_reached_by_different_keys(shared: Hands) -> None:
    execution_id = await waiting(shared, QUORUM)

    own = await act(shared.api, execution_id, "steps/check/approve")
    first = await acted(shared.api, execution_id, "steps/check/approve", headers=ANN)
    again = await act(shared.api, execution_id, "steps/check/approve", headers=ANN)
    why = await read(shared.api, execution_id, "/why")
    second = await acted(shared.api, execution_id, "steps/check/approve", headers=BOB)
    execution = await shared.go_on(execution_id)

    assert (first["status"], second["status"]) == ("awaiting_approval", "succeeded")
    assert "asked for it" in problem_of(own, 403, "FORBIDDEN")["detail"]
    problem_of(again, 409, "ALREADY_VOTED")
    assert "1 of 2 have approved" in why["explanation"]
    votes = (await read(shared.api, execution_id, "/steps/check"))["votes"]
    assert len({vote["by"] for vote in votes}) == 2
    assert await shared.outputs(execution) == {"by": votes[-1]["by"]}


async def test_only_approvers_approve_and_only_their_tenant_sees_the_execution(shared: Hands) -> None:
    execution_id = await waiting(shared, QUORUM.replace("[member, admin]", "[finance, legal]"))

    refused = problem_of(await act(shared.api, execution_id, "steps/check/approve", headers=ANN), 403, "FORBIDDEN")
    watching = await act(shared.api, execution_id, "steps/check/approve", headers=WATCHER)
    stranger = await act(shared.api, execution_id, "steps/check/approve", headers=EVE)

    assert "finance" in refused["detail"]
    problem_of(watching, 403, "FORBIDDEN")
    problem_of(stranger, 404, "EXECUTION_NOT_FOUND")
    assert (await read(shared.api, execution_id, "/steps/check"))["votes"] == []


async def test_a_token_opens_the_events_of_one_execution(shared: Hands) -> None:
    execution_id, other = await waiting(shared, QUORUM), await waiting(shared, QUORUM)
    await acted(shared.api, execution_id, "steps/check/reject", headers=ANN)
    await shared.go_on(execution_id)

    answer = await shared.api.post(f"/v1/executions/{execution_id}/events/token")
    params = {"token": answer.json()["token"]}
    del shared.api.client.headers["X-API-Key"]
    events = await shared.api.get(f"/v1/executions/{execution_id}/events", params=params)
    refused = await shared.api.get(f"/v1/executions/{other}/events", params=params)

    assert answer.status_code == 201
    assert '"status":"failed"' in events.text.replace(": ", ":")
    problem_of(refused, 401, "UNAUTHENTICATED")


async def test_a_signal_ends_the_step_that_waits_for_it(hands: Hands) -> None:
    execution_id = await waiting(hands, WAITING)
    assert (await read(hands.api, execution_id))["status"] == "waiting"
    why = await read(hands.api, execution_id, "/why")
    paid = {"event": "payment.received", "data": {"amount": 3.5}}

    other = await acted(hands.api, execution_id, "signal", {**paid, "key": "o2"})
    answer = await acted(hands.api, execution_id, "signal", {**paid, "key": "o1"})
    execution = await hands.go_on(execution_id)

    assert (why["waiting_for"], "payment.received with the key 'o1'" in why["explanation"]) == ("event", True)
    assert (other["delivered"], other["kept"]) == (0, True)
    assert (answer["delivered"], answer["kept"]) == (1, False)
    assert await hands.outputs(execution) == {"amount": 3.5}
    late = await act(hands.api, execution_id, "signal", paid)
    problem_of(late, 409, "EXECUTION_ALREADY_FINISHED")


async def test_a_signal_that_comes_early_is_kept(hands: Hands) -> None:
    execution_id = await started(hands.api, WAITING)

    early = {"event": "payment.received", "key": "o1", "data": {"amount": 2}}
    answer = await acted(hands.api, execution_id, "signal", early)
    execution = await hands.go_on(execution_id)

    assert answer["kept"]
    assert execution.status == "completed"
    assert await hands.outputs(execution) == {"amount": 2}


async def test_a_signal_that_breaks_the_contract_is_refused_and_one_key_sends_it_once(hands: Hands) -> None:
    execution_id = await waiting(hands, WAITING)
    body = {"event": "payment.received", "key": "o2", "data": {"amount": 1}}
    headers = {"Idempotency-Key": "once"}

    broken = await act(hands.api, execution_id, "signal", {**body, "key": "o1", "data": {"amount": "much"}})
    large = await act(hands.api, execution_id, "signal", {**body, "data": "x" * 70_000})
    for _ in range(2):
        await acted(hands.api, execution_id, "signal", body, headers=headers)

    problem_of(broken, 422, "VALIDATION_ERROR")
    problem_of(large, 422, "VALIDATION_ERROR")
    kept = await hands.api.core.documents("workflow_signals").find_many({"execution_id": execution_id}, limit=10)
    assert [signal["key"] for signal in kept] == ["o2"]


async def test_a_paused_execution_begins_nothing_until_it_is_resumed(hands: Hands) -> None:
    execution_id = await waiting(hands, APPROVING)

    paused = await acted(hands.api, execution_id, "pause")
    await acted(hands.api, execution_id, "steps/check/approve", {"form": {"reason": "x"}})
    await hands.go_on(execution_id, until=lambda job: bool(job.document["log"][-1]["event"] == "paused"))
    why = await read(hands.api, execution_id, "/why")
    resumed = await acted(hands.api, execution_id, "resume")
    execution = await hands.go_on(execution_id)

    assert (paused["status"], resumed["status"] != "paused") == ("paused", True)
    assert (why["status"], why["waiting_for"]) == ("paused", "resume")
    assert execution.status == "completed"
    events = [entry["event"] for entry in (await read(hands.api, execution_id))["log"]]
    assert events == ["started", "paused", "resumed", "ended"]


async def test_a_cancelled_execution_ends_and_a_second_cancel_is_refused(hands: Hands) -> None:
    execution_id = await waiting(hands, APPROVING)

    answer = await acted(hands.api, execution_id, "cancel")
    execution = await hands.go_on(execution_id, until=lambda job: job.status.is_final)

    assert answer["cancel_requested_at"] is not None
    assert execution.status == "cancelled"
    for verb in ("cancel", "pause", "resume"):
        problem_of(await act(hands.api, execution_id, verb), 409, "EXECUTION_ALREADY_FINISHED")


async def test_what_nobody_has_begun_is_paused_and_cancelled_as_well(hands: Hands) -> None:
    paused, cancelled = await started(hands.api, FAILING), await started(hands.api, FAILING)

    await acted(hands.api, paused, "pause")
    await acted(hands.api, cancelled, "cancel")
    ended = await hands.go_on(cancelled)
    listed = (await hands.api.get("/v1/executions", params={"status": "paused"})).json()["items"]
    await acted(hands.api, paused, "resume")

    assert ended.status == "cancelled"
    assert [item["execution_id"] for item in listed] == [paused]
    assert (await hands.go_on(paused)).status == "failed"


async def test_a_cancelled_execution_is_retried_to_its_end(hands: Hands) -> None:
    execution_id = await waiting(hands, APPROVING)
    await acted(hands.api, execution_id, "cancel")
    await hands.go_on(execution_id)

    await acted(hands.api, execution_id, "retry")
    waits = await hands.go_on(execution_id)
    await acted(hands.api, execution_id, "steps/check/approve", {"form": {"reason": "x"}})
    execution = await hands.go_on(execution_id)

    assert waits.document["idle_for"] == "awaiting_approval"
    assert execution.status == "completed"
    assert await hands.outputs(execution) == {"reason": "x"}
    log = (await read(hands.api, execution_id))["log"]
    assert [entry["event"] for entry in log[-2:]] == ["retried", "ended"]


async def test_a_retry_keeps_what_finished_and_counts_the_series(hands: Hands) -> None:
    execution_id = await started(hands.api, FAILING)
    early = await act(hands.api, execution_id, "retry")
    await hands.go_on(execution_id)
    headers = {"Idempotency-Key": "again"}

    first = await acted(hands.api, execution_id, "retry", headers=headers)
    again = await acted(hands.api, execution_id, "retry", headers=headers)
    await hands.go_on(execution_id)
    found = await read(hands.api, execution_id)

    problem_of(early, 409, "EXECUTION_NOT_RETRYABLE")
    assert first["series"] == again["series"] == found["series"] == 2
    assert found["status"] == "failed"
    series = [(step["path"], step["series"]) for step in found["steps"]]
    assert series.count(("first", 1)) == 1
    assert ("first", 2) not in series
    assert {("second", 1), ("second", 2)} <= set(series)
    assert (await read(hands.api, execution_id, "/steps/second"))["series"] == 2


async def test_a_fork_takes_finished_steps_over_and_other_inputs(hands: Hands) -> None:
    execution_id = await started(hands.api, FAILING)
    await hands.go_on(execution_id)

    answer = await act(hands.api, execution_id, "fork", {"input_data": {"good": True}}, params={"from": "second"})
    forked = answer.json()["execution_id"]
    await hands.go_on(forked)
    found = await read(hands.api, forked)

    assert answer.status_code == 202
    assert found["status"] == "completed", found["error"]
    assert found["inputs"] == {"good": True}
    assert found["forked_from"] == {"execution_id": execution_id, "step": "second"}
    reused = {step["path"]: step["reused_from"] for step in found["steps"]}
    assert reused == {"first": execution_id, "second": None}
    assert (await read(hands.api, execution_id))["status"] == "failed"


async def test_a_fork_from_nowhere_or_with_wrong_inputs_is_refused(hands: Hands) -> None:
    execution_id = await started(hands.api, FAILING)

    nowhere = await act(hands.api, execution_id, "fork", {}, params={"from": "third"})
    wrong = await act(hands.api, execution_id, "fork", {"input_data": {"good": 1}}, params={"from": "second"})

    assert "first, second" in problem_of(nowhere, 422, "VALIDATION_ERROR")["detail"]
    problem_of(wrong, 422, "WORKFLOW_INPUT_INVALID")
    assert len((await hands.api.get("/v1/executions")).json()["items"]) == 1
