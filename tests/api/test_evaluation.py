"""Outputs that are evaluated: in the real kernel, against the simulator, as a client sees it."""

from collections.abc import AsyncIterator
from functools import partial

import pytest

from app.agents.base import AgentOutput, AgentRequest, AgentTools, BaseAgent
from app.agents.specs import AgentSpec
from app.llm.usage import ModelRole
from app.tasks.schemas import TaskResponse
from tests.api.harness import Json, conforms, problem_of
from tests.api.world import StartWorld, World

ARTICLE = "Write a short article about the benefits of renewable energy"
STRICT = {"type": "length", "min_words": 100_000}
GOOD = "The harbour was built of granite in three summers."


class LearningAgent(BaseAgent):
    """Answers badly until it is told why, then well; the task's text is how often it has to be told."""

    async def run(self, request: AgentRequest, tools: AgentTools) -> AgentOutput:
        told = 0 if request.feedback is None else 1
        text = GOOD if told or request.text == "0" else "Bad."
        return AgentOutput(summary=text, raw_output=text, data={"feedback": request.feedback})


LEARNING = AgentSpec(
    name="LearningAgent",
    agent_type="learning",
    description="Learns from feedback.",
    examples=("Learn",),
    model_role=ModelRole.PEER,
    factory="tests.api.test_evaluation:LearningAgent",
    routable=False,
)


@pytest.fixture
def start_world(start_world: StartWorld) -> StartWorld:
    return partial(start_world, LEARNING)


@pytest.fixture
async def world(start_world: StartWorld) -> AsyncIterator[World]:
    async with start_world() as started:
        yield started


def roles(task: Json) -> list[str]:
    return [run["agent_role"] for run in task["agent_runs"]]


async def test_an_output_that_passes_comes_with_its_verdict_and_a_run_of_the_evaluator(world: World) -> None:
    rubric = {"criteria": [{"name": "subject", "description": "It is about renewable energy and its benefits."}]}
    checks = [{"type": "citations_valid"}, {"type": "length", "min_words": 20}, {"type": "no_secrets"}]

    task = await world.run(ARTICLE, evaluation={"checks": checks, "rubric": rubric})

    conforms(TaskResponse, task)
    assert task["error"] is None
    verdict = task["result"]["evaluation"]
    assert (task["status"], verdict["passed"], verdict["rounds"]) == ("completed", True, 1)
    assert [check["name"] for check in verdict["checks"]] == ["citations_valid", "length", "no_secrets"]
    (criterion,) = verdict["criteria"]
    assert criterion["quote"] in task["result"]["raw_output"]
    assert roles(task) == ["router", "executor", "evaluator"]
    judged = task["agent_runs"][-1]
    assert (judged["agent_name"], judged["status"]) == ("Evaluator", "completed")
    assert judged["token_usage"]["total"] > 0
    assert [prompt["name"] for prompt in judged["prompts"]] == ["evaluator", "evaluator_material"]
    assert task["cost"]["total_tokens"] == sum(run["token_usage"]["total"] for run in task["agent_runs"])


async def test_an_agent_is_told_what_was_wrong_and_tries_again_in_the_same_attempt(world: World) -> None:
    task = await world.run("1", agent="LearningAgent", evaluation={"checks": [{"type": "length", "min_words": 5}]})

    assert (task["status"], task["attempt"]) == ("completed", 1)
    assert task["result"]["raw_output"] == GOOD
    assert "at least 5 are needed" in task["result"]["data"]["feedback"]
    assert task["result"]["evaluation"]["rounds"] == 2
    assert roles(task) == ["executor", "evaluator", "executor", "evaluator"]


async def test_a_graph_that_is_asked_again_begins_afresh_and_every_round_is_paid_once(world: World) -> None:
    task = await world.run(ARTICLE, evaluation={"checks": [STRICT], "retries": 2, "on_failure": "accept"})

    assert task["result"]["evaluation"]["rounds"] == 3
    assert roles(task) == ["router", *["executor", "evaluator"] * 3]
    assert task["cost"]["total_tokens"] == sum(run["token_usage"]["total"] for run in task["agent_runs"])


async def test_without_a_good_output_the_task_fails_and_the_message_tells_no_word_of_it(world: World) -> None:
    evaluation = {"checks": [{"type": "forbidden", "texts": ["renewable"]}], "retries": 0}
    task = await world.run(ARTICLE, evaluation=evaluation)

    assert (task["status"], task["attempt"], task["result"]) == ("failed", 1, None)
    assert task["error"] == {
        "type": "EVALUATION_FAILED",
        "message": "the output scored 0.00 of 0.00 needed: forbidden",
    }


@pytest.mark.parametrize(
    ("decision", "status", "error"), [("accept", "completed", None), ("reject", "failed", "REJECTED")]
)
async def test_a_flagged_output_waits_for_a_person_without_a_worker(
    world: World, decision: str, status: str, error: str | None
) -> None:
    evaluation = {"checks": [STRICT], "retries": 0, "on_failure": "flag"}
    waiting = await world.run(ARTICLE, evaluation=evaluation)
    asked = await world.asked()
    path = f"/v1/tasks/{waiting['task_id']}"
    why = (await world.api.get(f"{path}/why")).json()

    answered = await world.api.post(f"{path}/review", body={"decision": decision, "comment": "Seen."})
    ended = await world.go_on(waiting["task_id"])
    late = await world.api.post(f"{path}/review", body={"decision": "accept"})

    conforms(TaskResponse, waiting)
    assert (waiting["status"], waiting["result"], waiting["hold"]["kind"]) == ("awaiting_approval", None, "review")
    assert waiting["result_under_review"]["evaluation"]["passed"] is False
    assert why["waiting_for"] == "review"
    assert world.runner.is_idle
    assert (answered.status_code, answered.json()["status"]) == (202, "queued")
    assert (ended["status"], (ended["error"] or {}).get("type")) == (status, error)
    assert ended["review"]["decision"] == decision
    assert await world.asked() == asked
    if decision == "accept":
        assert ended["result"] == waiting["result_under_review"]
    problem_of(late, 409, "TASK_NOT_WAITING")


async def test_a_policy_evaluates_a_share_of_an_agents_tasks_and_observes_only(start_world: StartWorld) -> None:
    observed = {"sample_rate": 0.5, "checks": [STRICT], "retries": 0, "on_failure": "accept"}
    async with start_world(evaluation_policies={"LearningAgent": observed}) as world:
        tasks = [await world.run(str(number), agent="LearningAgent") for number in range(16)]

    assert {task["status"] for task in tasks} == {"completed"}
    evaluated = [task for task in tasks if task["result"]["evaluation"]]
    assert 0 < len(evaluated) < len(tasks)
    assert {task["result"]["evaluation"]["passed"] for task in evaluated} == {False}


async def test_a_judge_that_fails_ends_a_gated_attempt_and_leaves_an_observed_task_alone(
    start_world: StartWorld,
) -> None:
    rubric = {"criteria": [{"name": "subject", "description": "It is about something."}]}
    async with start_world(
        evaluation_policies={"*": {"rubric": rubric, "retries": 0, "on_failure": "accept"}}
    ) as world:
        await world.simulator.post("/_sim/faults", json={"role": "judge", "error": "500"})
        observed = await world.run("0", agent="LearningAgent")
        gated = await world.attempt("0", agent="LearningAgent", evaluation={"rubric": rubric})

    assert (observed["status"], observed["result"]["evaluation"]) == ("completed", None)
    assert observed["agent_runs"][-1]["error"]["type"] == "LLM_ERROR"
    assert (gated["status"], gated["history"][-1]["error"]["type"]) == ("queued", "LLM_ERROR")


@pytest.mark.parametrize(
    ("evaluation", "field"),
    [
        ({}, "evaluation"),
        ({"checks": [{"type": "length"}]}, "evaluation.checks.0.length"),
        ({"checks": [{"type": "nonsense"}]}, "evaluation.checks.0"),
        ({"checks": [{"type": "json_schema", "schema": {"type": "nonsense"}}]}, "evaluation.checks.0.schema"),
        ({"checks": [{"type": "evaluator", "name": "missing"}]}, "evaluation.checks.0.name"),
        ({"checks": [{"type": "no_secrets"}], "retries": 9}, "evaluation.retries"),
        ({"rubric": {"criteria": [{"name": "a", "description": "b"}] * 2}}, "evaluation.rubric"),
    ],
)
async def test_an_evaluation_that_is_none_is_refused_and_the_field_is_named(
    world: World, evaluation: Json, field: str
) -> None:
    answer = await world.api.post("/v1/agent/execute", body={"task": ARTICLE, "evaluation": evaluation})

    problem = problem_of(answer, 422, "VALIDATION_ERROR")
    assert field in str(problem)


async def test_the_same_evaluation_is_part_of_what_an_idempotency_key_stands_for(world: World) -> None:
    bodies = [{"task": ARTICLE, "evaluation": {"checks": [{"type": "length", "min_words": n}]}} for n in (1, 1, 2)]

    answers = [
        await world.api.post("/v1/agent/execute", body=body, headers={"Idempotency-Key": "the-key-of-this-test"})
        for body in bodies
    ]

    assert [answer.status_code for answer in answers] == [202, 202, 422]
