"""Scores over HTTP and at the command line: nothing runs, and everything that made them is told."""

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from app.workflows.scoring.schemas import ScoreResponse
from tests.api.conftest import StartApi
from tests.api.harness import Api, Json, api_settings, conforms, problem_of, stores_of
from tests.api.serving import served_api
from tests.api.test_cli_commands import Terminal
from tests.processes import Server

PATH = "/v1/evaluations"
CODING = "Write a Python function that reverses a string."
DOCUMENT: Json = {
    "version": 1,
    "name": "release",
    "inputs": {"name": {"type": "string"}},
    "steps": {
        "draft": {"agent": "ContentAgent", "with": {"task": "Write a report about ${{ inputs.name }}"}},
        "review": {
            "needs": ["draft"],
            "loop": {"until": "true", "max_iterations": 5},
            "steps": {"fix": {"agent": "CodeAgent", "with": {"task": "Fix the bug"}, "budget": {"usd": 0.5}}},
        },
        "ship": {"needs": ["review"], "command": ["bash", "-c", "make ship"], "secrets": ["DEPLOY_KEY"]},
        "tell": {"task": "Send the report to ada@example.com", "timeout": "2s"},
    },
}


@pytest.fixture
async def served(store: Server, redis_url: str) -> AsyncIterator[Api]:
    async with served_api(api_settings(**stores_of(store, redis_url))) as started:
        yield started


async def scored(api: Api, **body: Any) -> Json:
    response = await api.post(PATH, body)
    assert response.status_code == 200, response.text
    conforms(ScoreResponse, response.json())
    found: Json = response.json()
    return found


def values_of(answer: Json, dimension: str) -> dict[str, float]:
    return {one["name"]: one["value"] for one in answer["scores"][dimension]["features"]}


async def test_a_task_is_scored_for_the_agent_it_is_aligned_with_best_and_nothing_runs(api: Api) -> None:
    first = await scored(api, task=CODING)
    again = await scored(api, task=CODING)

    assert (first["kind"], first["agent"], first["scoring_version"]) == ("task", "CodeAgent", 1)
    assert first == again
    assert set(first["scores"]) == {"feasibility", "alignment", "risk", "cost"}
    assert (await api.get("/v1/tasks")).json()["items"] == []


async def test_each_score_is_its_base_and_its_contributions(api: Api) -> None:
    answer = await scored(api, task="Delete it", agent="CodeAgent", budget={"usd": 0.0001})

    for score in answer["scores"].values():
        exact = score["base"] + sum(one["contribution"] for one in score["features"])
        assert score["value"] == pytest.approx(min(max(exact, 0), 1), abs=0.00006)
    assert values_of(answer, "feasibility")["budget_short"] > 0
    assert values_of(answer, "risk")["destroying_words"] == 0.5


async def test_input_that_the_agent_cannot_take_is_less_feasible(api: Api) -> None:
    fitting = {"operation": "sentiment", "text": "The room was clean."}

    good = await scored(api, task="Is it positive?", agent="TextProcessorAgent", input=fitting)
    bad = await scored(api, task="Is it positive?", agent="TextProcessorAgent", input={"operation": "dance"})

    assert values_of(good, "feasibility")["input_unfit"] == 0
    assert values_of(bad, "feasibility")["input_unfit"] == 1


async def test_tools_that_change_something_outside_raise_the_risk(start_api: StartApi) -> None:
    server = {"url": "http://127.0.0.1:9/mcp", "allow": {"CodeAgent": ["read", "write"]}, "read_only": ["read"]}

    async with start_api(mcp_servers={"files": server}) as api:
        answer = await scored(api, task=CODING, agent="CodeAgent")

    risk = values_of(answer, "risk")
    assert (risk["acting_tools"], risk["reading_tools"]) == (0.5, 0.5)


async def test_the_configured_price_of_the_agents_model_decides_the_cost(start_api: StartApi) -> None:
    prices = {"openai:gpt-4o-mini": {"input_per_million": 1, "output_per_million": 1}}
    settings = {"llm_code_model": "openai:gpt-4o-mini", "llm_prices": prices}

    async with start_api(**settings) as api:
        answer = await scored(api, task=CODING, agent="CodeAgent")
    async with start_api(llm_code_model="openai:a-model-of-our-own") as api:
        unpriced = await scored(api, task=CODING, agent="CodeAgent", budget={"usd": 1.0})

    assert answer["estimate"]["usd"] == answer["estimate"]["tokens"] / 1_000_000
    assert unpriced["estimate"]["usd"] is None
    assert values_of(unpriced, "cost")["usd"] == 1
    assert values_of(unpriced, "feasibility")["price_unknown"] == 1


async def test_steps_of_a_stored_workflow_are_scored_where_they_stand(api: Api) -> None:
    assert (await api.post("/v1/workflows", DOCUMENT)).status_code == 201

    draft = await scored(api, workflow="release", step="draft")
    fix = await scored(api, workflow="release", step="review.fix")
    ship = await scored(api, workflow="release", step="ship")
    tell = await scored(api, workflow="release", step="tell")

    assert (draft["kind"], draft["agent"], draft["estimate"]["model_calls"]) == ("step", "ContentAgent", 6)
    assert fix["estimate"]["model_calls"] == 5 * 2
    assert values_of(fix, "risk")["depth"] == 0.125
    assert (ship["agent"], ship["estimate"]["model_calls"]) == (None, 0)
    risk = values_of(ship, "risk")
    assert [risk[name] for name in ("command", "interpreter", "secrets")] == [1, 1, 0.5]
    assert values_of(tell, "risk")["addresses"] == 0.5
    assert values_of(tell, "feasibility")["deadline_short"] > 0


async def test_what_a_step_is_given_and_may_consume_can_be_said(api: Api) -> None:
    await api.post("/v1/workflows", DOCUMENT)

    given = await scored(
        api,
        workflow="release",
        step="draft",
        input={"task": "Delete everything about password: hunter22"},
        budget={"model_calls": 1},
        deadline_seconds=1.0,
    )

    assert values_of(given, "risk")["keys"] == 1
    assert values_of(given, "feasibility")["budget_short"] > 0.8
    assert values_of(given, "feasibility")["deadline_short"] > 0.9


async def test_what_cannot_be_scored_is_refused_with_what_to_do(api: Api) -> None:
    await api.post("/v1/workflows", DOCUMENT)

    problem_of(await api.post(PATH, {"workflow": "nope", "step": "a"}), 404, "WORKFLOW_NOT_FOUND")
    problem_of(await api.post(PATH, {"workflow": "release", "step": "nope"}), 404, "STEP_NOT_FOUND")
    problem_of(await api.post(PATH, {"task": CODING, "agent": "NopeAgent"}), 404, "AGENT_NOT_FOUND")
    held = problem_of(await api.post(PATH, {"workflow": "release", "step": "review"}), 422, "VALIDATION_ERROR")
    assert "only holds steps" in held["detail"]
    for body in (
        {},
        {"task": CODING, "workflow": "release", "step": "draft"},
        {"workflow": "release"},
        {"task": CODING, "step": "draft"},
        {"workflow": "release", "step": "draft", "agent": "CodeAgent"},
        {"task": CODING, "budget": {"usd": -1}},
        {"task": " "},
        {"task": CODING, "surprise": 1},
    ):
        problem_of(await api.post(PATH, body), 422, "VALIDATION_ERROR")


async def test_another_tenants_workflow_is_not_there_and_viewers_may_not_ask(start_api: StartApi) -> None:
    async with start_api(api_keys="key-of-red:red:member,key-to-watch:red:viewer,key-of-blue:blue:member") as api:
        await api.post("/v1/workflows", DOCUMENT, headers={"X-API-Key": "key-of-red"})
        body = {"workflow": "release", "step": "draft"}

        red = await api.post(PATH, body, headers={"X-API-Key": "key-of-red"})
        blue = await api.post(PATH, body, headers={"X-API-Key": "key-of-blue"})
        viewer = await api.post(PATH, body, headers={"X-API-Key": "key-to-watch"})

    assert red.status_code == 200
    problem_of(blue, 404, "WORKFLOW_NOT_FOUND")
    problem_of(viewer, 403, "FORBIDDEN")


async def test_the_command_prints_each_score_with_what_made_it(served: Api) -> None:
    await served.post("/v1/workflows", DOCUMENT)
    terminal = Terminal(served)

    told = await terminal.prints("score", "Delete the records", "--agent", "CodeAgent", "--budget", "model_calls=1")
    step = json.loads(await terminal.prints("score", "--workflow", "release", "--step", "ship", "--json"))

    lines = [line.split() for line in told.splitlines()]
    assert lines[0] == ["by", "CodeAgent"]
    assert ["risk", "0.1500"] in lines
    assert ["destroying_words", "0.5000", "x", "0.30", "=", "0.1500"] in lines
    assert any(line[0] == "budget_short" for line in lines)
    assert step["kind"] == "step"
