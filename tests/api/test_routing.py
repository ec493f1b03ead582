"""Where a task goes: dry runs and questions to the client, over the API, a worker's kernel and the simulator."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import httpx
import pytest

from app.agents.prompt import load_prompt
from app.jobs.models import DRY_RUN
from app.tasks.clarification import MOST_CLARIFICATIONS
from app.tasks.models import DRY_RUN_KEPT
from app.tasks.routing_schemas import RouteResponse
from tests.api.harness import NOBODY, Api, Json, conforms, fields_of, problem_of
from tests.api.world import StartWorld, World

CODE = "Write a Python function to reverse a string"
FLIGHT = "Book me a flight to Paris"
VAGUE = "Help me with this thing here"
SALES = "region,amount\nnorth,10\n"
KEYS = "key-of-acme-0123456789:acme,key-of-zeta-0123456789:zeta"
ACME, ZETA = {"X-API-Key": "key-of-acme-0123456789"}, {"X-API-Key": "key-of-zeta-0123456789"}


@pytest.fixture
async def world(start_world: StartWorld) -> AsyncIterator[World]:
    async with start_world(api_keys=KEYS) as started:
        started.api.client.headers.update(ACME)
        yield started


async def dry_run(world: World, task: str, *, headers: Any = None, **body: Any) -> httpx.Response:
    """The answer to a dry run that a worker takes up while the request waits."""
    before = set(await dry_runs_in(world))
    asked = asyncio.create_task(world.api.post("/v1/agent/route", {"task": task, **body}, headers=headers))
    async with asyncio.timeout(20):
        while not asked.done():
            for task_id in set(await dry_runs_in(world)) - before:
                await world.work(task_id)
            await asyncio.sleep(0.01)
    return asked.result()


async def dry_runs_in(world: World) -> list[str]:
    return [found["_id"] for found in await world.api.core.tasks.find_many({DRY_RUN: True}, limit=100)]


async def asked_task(world: World, task: str = VAGUE, **body: Any) -> Json:
    """A task that waits for its client."""
    held = await world.attempt(task, clarify=True, **body)
    assert held["status"] == "awaiting_approval", held["error"]
    return held


async def clarify(world: World, task_id: str, *, headers: Any = None, **body: Any) -> httpx.Response:
    return await world.api.post(f"/v1/tasks/{task_id}/clarify", body, headers=headers)


async def test_a_task_tells_what_its_routing_came_from(world: World) -> None:
    task = await world.work(await world.api.submit(CODE))

    routing = task["routing"]
    assert (task["status"], task["selected_agent"], routing["rule"]) == ("completed", "CodeAgent", "model_choice")
    assert routing["candidates"][0]["agent_name"] == "CodeAgent"
    assert routing["candidates"][0]["score"] == routing["confidence"]
    assert routing["prompt"] == {"name": "router", "digest": load_prompt("router").digest}
    assert routing["model"] == task["agent_runs"][0]["model"]
    assert routing["threshold"] == 0.5


async def test_the_routing_is_the_same_after_the_agent_had_to_be_tried_again(world: World) -> None:
    task_id = await world.api.submit(f"{CODE} [[sim error=500 flaky=1 role=coder]]")
    first = await world.work(task_id)
    await asyncio.sleep(0.15)
    second = await world.work(task_id)

    assert (first["status"], second["status"]) == ("queued", "completed"), second["error"]
    assert second["routing"] == first["routing"]
    assert len([run for run in second["agent_runs"] if run["agent_role"] == "router"]) == 1


@pytest.mark.parametrize(
    ("body", "rule"),
    [({"agent": "EchoAgent"}, "client_choice"), ({"input": {"csv": SALES}}, "typed_input")],
)
async def test_without_a_model_there_is_only_the_rule(world: World, body: Json, rule: str) -> None:
    task = await world.work(await world.api.submit("Look at it.", **body))

    routing = task["routing"]
    assert (task["status"], routing["rule"], routing["confidence"]) == ("completed", rule, 1.0)
    assert (routing["candidates"], routing["model"], routing["prompt"]) == ([], None, None)


async def test_a_task_that_no_agent_takes_tells_why_as_well(world: World) -> None:
    task = await world.work(await world.api.submit(FLIGHT))

    assert (task["status"], task["error"]["type"], task["selected_agent"]) == ("failed", "UNKNOWN_TASK_TYPE", None)
    assert (task["routing"]["agent_name"], task["routing"]["rule"]) == ("Unknown", "unknown")
    assert task["agent_runs"][0]["status"] == "completed"


async def test_a_failed_task_is_routed_again_when_it_is_retried_by_hand(world: World) -> None:
    task = await world.work(await world.api.submit(FLIGHT))

    answer = await world.api.post(f"/v1/tasks/{task['task_id']}/retry")

    assert answer.json()["routing"] is None
    assert (await world.work(task["task_id"]))["routing"]["rule"] == "unknown"


async def test_a_dry_run_answers_the_decision(world: World) -> None:
    answer = await dry_run(world, CODE)

    assert answer.status_code == 200, answer.text
    body = answer.json()
    conforms(RouteResponse, body)
    assert (body["selected_agent"], body["agent_type"], body["error"]) == ("CodeAgent", "code", None)
    assert body["routing"]["rule"] == "model_choice"
    assert body["cost"]["model_calls"] == 1


@pytest.mark.parametrize(
    ("task", "rule", "error"),
    [
        (FLIGHT, "unknown", "UNKNOWN_TASK_TYPE"),
        ("Profile the columns of this table", "missing_input", "AGENT_INPUT_INVALID"),
    ],
)
async def test_a_dry_run_of_what_would_fail_says_with_what(world: World, task: str, rule: str, error: str) -> None:
    answer = await dry_run(world, task)

    assert answer.status_code == 200, answer.text
    body = answer.json()
    assert (body["selected_agent"], body["routing"]["rule"], body["error"]["type"]) == (None, rule, error)


async def test_a_dry_run_of_input_that_only_one_agent_takes_asks_no_model(world: World) -> None:
    body = (await dry_run(world, "Look at it.", input={"csv": SALES})).json()

    assert (body["selected_agent"], body["routing"]["rule"]) == ("DataAnalyzerAgent", "typed_input")
    assert body["cost"]["model_calls"] == 0


async def test_a_dry_run_knows_the_session_and_leaves_no_trace_in_it(world: World) -> None:
    await world.work(await world.api.submit(CODE, session_id="talk"))
    before = (await world.api.get("/v1/sessions/talk")).json()

    body = (await dry_run(world, "the same once more, please", session_id="talk")).json()
    elsewhere = (await dry_run(world, "the same once more, please", session_id="another")).json()

    assert body["selected_agent"] == "CodeAgent"
    assert elsewhere["selected_agent"] is None
    await world.worker.core.messages.close()
    await world.worker.upkeep.run_once()
    assert (await world.api.get("/v1/sessions/talk")).json() == before
    problem_of(await world.api.get("/v1/sessions/another"), 404, "SESSION_NOT_FOUND")
    assert await world.api.core.database["messages"].count_documents({"session_id": "another"}) == 0


async def test_a_dry_run_is_in_no_list_and_no_total_and_is_removed_soon(world: World) -> None:
    body = (await dry_run(world, FLIGHT)).json()
    stored = await world.api.core.tasks.find_one({"_id": body["task_id"]})
    assert stored is not None
    await world.worker.upkeep.run_once()

    assert (await world.api.get("/v1/tasks")).json()["meta"]["total_items"] == 0
    assert (await world.api.get("/v1/dead-letters")).json()["items"] == []
    totals = (await world.api.get("/v1/system/metrics")).json()
    assert totals["all_time"]["total_tasks"] == totals["total_tasks"] == 0
    # The store removes it by itself.
    assert stored["expires_at"] == stored["deadline_at"] + DRY_RUN_KEPT
    assert stored["deadline_at"] - stored["created_at"] <= timedelta(minutes=2)
    indexes = await world.api.core.database["tasks"].index_information()
    assert indexes["expires_at_1"]["expireAfterSeconds"] == 0


async def test_a_dry_run_that_takes_longer_than_the_client_waits_can_be_read_later(api: Api) -> None:
    answer = await api.post("/v1/agent/route?wait=1", {"task": CODE})

    assert answer.status_code == 202
    assert answer.headers["preference-applied"] == "wait=1"
    body = answer.json()
    assert (body["status"], body["routing"], body["selected_agent"]) == ("queued", None, None)
    assert answer.headers["location"] == f"/v1/tasks/{body['task_id']}"
    assert (await api.get(answer.headers["location"])).json()["status"] == "queued"


async def test_a_repeated_key_is_answered_with_the_same_dry_run_and_is_not_that_of_a_task(world: World) -> None:
    key = {"Idempotency-Key": "once"}

    first = await dry_run(world, CODE, headers=key)
    again = await world.api.post("/v1/agent/route", {"task": CODE}, headers=key)
    executed = await world.api.execute(CODE, headers=key)

    assert again.json() == first.json()
    assert again.headers["idempotent-replayed"] == "true"
    assert executed.json()["task_id"] != first.json()["task_id"]


async def test_a_router_that_cannot_be_asked_is_a_503(start_world: StartWorld) -> None:
    async with start_world(task_max_attempts=1) as world:
        body = problem_of(await dry_run(world, f"{CODE} [[sim error=500]]"), 503, "ROUTING_FAILED")

    assert "LLM_ERROR" in body["detail"]


async def test_a_dry_run_is_held_to_the_form_of_a_task(api: Api) -> None:
    for body, field in [({}, "task"), ({"task": " "}, "task"), ({"task": "x", "agent": "CodeAgent"}, "agent")]:
        assert fields_of(problem_of(await api.post("/v1/agent/route", body), 422, "VALIDATION_ERROR")) == [field]


async def test_a_router_that_is_not_sure_asks_the_client_who_names_the_agent(world: World) -> None:
    held = await asked_task(world)
    why = (await world.api.get(f"/v1/tasks/{held['task_id']}/why")).json()

    hold = held["hold"]
    assert (hold["kind"], hold["facts"]["rule"]) == ("clarification", "unknown")
    assert hold["facts"]["options"] == ["ContentAgent", "CodeAgent", "TextProcessorAgent"]
    assert (why["waiting_for"], why["facts"]["options"]) == ("clarification", hold["facts"]["options"])
    assert "name an agent" in why["explanation"]
    assert held["attempt"] == 0

    answer = await clarify(world, held["task_id"], agent="EchoAgent")
    done = await world.work(held["task_id"])

    assert (answer.status_code, answer.json()["status"], answer.json()["hold"]) == (202, "queued", None)
    assert (done["status"], done["selected_agent"], done["attempt"]) == ("completed", "EchoAgent", 1)
    assert done["routing"]["rule"] == "client_choice"


async def test_a_question_can_be_answered_in_other_words_which_the_agent_sees_too(world: World) -> None:
    held = await asked_task(world, "Do it for me")

    await clarify(world, held["task_id"], text="I mean: write a Go function to reverse a string")
    done = await world.work(held["task_id"])

    assert (done["status"], done["selected_agent"]) == ("completed", "CodeAgent"), done["error"]
    assert done["result"]["code_language"] == "go"
    assert done["input_text"] == "Do it for me"


async def test_two_agents_that_fit_alike_are_a_question_of_which(start_world: StartWorld) -> None:
    async with start_world(router_min_confidence=0.7) as world:
        held = await asked_task(world, "Python trends")
        sure = await world.work(await world.api.submit("Python trends"))

    assert held["hold"]["facts"]["rule"] == "ambiguous", held["hold"]
    assert set(held["hold"]["facts"]["options"][:2]) == {"CodeAgent", "ContentAgent"}
    # Without being asked for, nobody is asked.
    assert sure["error"]["type"] == "UNKNOWN_TASK_TYPE"


async def test_nobody_is_asked_for_ever(world: World) -> None:
    task_id = (await asked_task(world))["task_id"]
    for number in range(MOST_CLARIFICATIONS):
        assert (await clarify(world, task_id, text=f"That thing, number {number}.")).status_code == 202
        task = await world.work(task_id)

    assert (task["status"], task["error"]["type"]) == ("failed", "UNKNOWN_TASK_TYPE")
    problem_of(await clarify(world, task_id, text="Once more."), 409, "TASK_NOT_WAITING")


async def test_only_who_is_asked_can_answer_and_only_with_what_fits(world: World) -> None:
    task_id = (await asked_task(world))["task_id"]
    queued = await world.api.submit(CODE)

    problem_of(await clarify(world, task_id, headers=ZETA, text="x"), 404, "TASK_NOT_FOUND")
    problem_of(await clarify(world, NOBODY, text="x"), 404, "TASK_NOT_FOUND")
    problem_of(await clarify(world, queued, text="x"), 409, "TASK_NOT_WAITING")
    for body, fields in [
        ({}, ["body"]),
        ({"agent": "CodeAgent", "text": "x"}, ["body"]),
        ({"text": " "}, ["text"]),
        ({"agent": "FlightAgent"}, ["agent"]),
        # It needs a table, which cannot be handed in any more.
        ({"agent": "DataAnalyzerAgent"}, ["input"]),
    ]:
        refused = problem_of(await clarify(world, task_id, **body), 422, "VALIDATION_ERROR")
        assert fields_of(refused) == fields
    assert (await world.api.read(task_id))["status"] == "awaiting_approval"


async def test_of_simultaneous_answers_one_counts_and_a_repeated_key_is_the_same_answer(world: World) -> None:
    task_id = (await asked_task(world))["task_id"]
    key = {"Idempotency-Key": "answer"}

    answers = await asyncio.gather(
        clarify(world, task_id, agent="EchoAgent", headers=key), clarify(world, task_id, agent="CodeAgent")
    )
    codes = sorted(answer.status_code for answer in answers)
    first = next(answer for answer in answers if answer.status_code == 202)

    assert codes == [202, 409]
    if first is answers[0]:
        assert (await clarify(world, task_id, agent="EchoAgent", headers=key)).status_code == 202


async def test_a_question_is_over_with_the_deadline_or_a_cancellation(world: World) -> None:
    overdue = await asked_task(world, deadline_seconds=60)
    cancelled = await asked_task(world)
    past = {"$set": {"deadline_at": world.api.core.clock() - timedelta(seconds=1)}}
    await world.api.core.tasks.update_one({"_id": overdue["task_id"]}, past)

    await world.worker.upkeep.run_once()
    await world.api.post(f"/v1/tasks/{cancelled['task_id']}/cancel")

    assert (await world.api.read(overdue["task_id"]))["error"]["type"] == "DEADLINE_EXCEEDED"
    assert (await world.api.read(cancelled["task_id"]))["status"] == "cancelled"
