"""The retry policy of a task as clients set and see it, and what they are told while its provider is down."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from app.agents.registry import Registry
from app.agents.specs import BUILT_IN, AgentSpec
from app.bootstrap.circuits import guard
from app.bootstrap.execution import build_execution
from app.errors import CircuitOpen
from app.jobs.models import JobError, Reason
from app.jobs.outcomes import RetryAt
from app.jobs.retry import RetryWish
from app.jobs.transitions import Evidence
from app.llm.chat import ChatModels
from app.llm.circuits import Circuit, CircuitKey
from app.llm.errors import LlmUnavailable
from app.llm.messages import Message
from app.llm.search import NoSearch
from app.llm.usage import ModelRole
from app.settings import Settings, load_settings
from app.tasks.models import COLLECTION as TASKS
from app.tasks.retry_policy import RetryPolicies
from tests.api.harness import Api, fields_of, problem_of
from tests.processes import Server

DEFAULT = {"max_attempts": 3, "initial_seconds": 0.1, "max_seconds": 60.0, "max_total_seconds": 3600.0}
KEY = CircuitKey("api.example.com", "gpt-4o-mini")
SECOND = timedelta(seconds=1)


async def test_a_task_has_the_deployments_retry_policy_unless_it_says_otherwise(api: Api) -> None:
    plain = await api.read(await api.submit())
    own = await api.read(await api.submit(retry={"max_attempts": 7, "max_total_seconds": 60}))

    assert (plain["max_attempts"], plain["retry"]) == (3, DEFAULT)
    assert (own["max_attempts"], own["retry"]) == (7, {**DEFAULT, "max_attempts": 7, "max_total_seconds": 60.0})


@pytest.mark.parametrize(
    "wrong",
    [
        {"max_attempts": 0},
        {"max_attempts": 21},
        {"max_attempts": "3"},
        {"initial_seconds": 0},
        {"initial_seconds": 601},
        {"max_seconds": 86_401},
        {"max_total_seconds": 0},
        {"max_total_seconds": 604_801},
        {"attempts": 3},
        {"initial_seconds": 5, "max_seconds": 1},
    ],
    ids=str,
)
async def test_a_retry_policy_outside_its_bounds_is_refused(api: Api, wrong: dict[str, Any]) -> None:
    body = problem_of(await api.execute(retry=wrong), 422, "VALIDATION_ERROR")

    assert fields_of(body)[0].startswith("retry")


async def test_the_same_key_with_another_retry_policy_is_another_request(api: Api) -> None:
    key = {"Idempotency-Key": "retry-policy"}

    first = await api.submit(headers=key, retry={"max_attempts": 2})
    again = await api.submit(headers=key, retry={"max_attempts": 2})
    other = await api.execute(headers=key, retry={"max_attempts": 3})

    assert first == again
    assert other.status_code == 422


async def test_a_new_series_of_attempts_keeps_the_policy(api: Api) -> None:
    task_id = await api.submit(retry={"max_attempts": 1})
    await api.hand().fail(task_id)

    await api.post(f"/v1/tasks/{task_id}/retry")

    assert (await api.read(task_id))["retry"]["max_attempts"] == 1


async def test_the_task_comes_before_its_agent_and_the_agent_before_the_deployment(api: Api) -> None:
    patient = AgentSpec(
        name="Patient",
        agent_type="patient",
        description="Takes its time.",
        examples=(),
        model_role=ModelRole.PEER,
        factory="app.agents.echo:EchoAgent",
        retry=RetryWish(max_attempts=9, initial=5 * SECOND),
    )
    default = api.core.retries.resolve(None, None)
    policies = RetryPolicies(default, Registry((*BUILT_IN, patient)))

    of_agent = policies.resolve(None, "Patient")
    of_task = policies.resolve(RetryWish(max_attempts=2), "Patient")

    assert (of_agent.max_attempts, of_agent.backoff.initial, of_agent.max_total) == (9, 5 * SECOND, default.max_total)
    assert (of_task.max_attempts, of_task.backoff.initial) == (2, 5 * SECOND)
    assert policies.resolve(None, "CodeAgent") == default


async def refused_by_a_circuit(api: Api) -> str:
    """The id of a task whose attempt was refused because its provider is down."""
    task_id, hand = await api.submit(agent="CodeAgent"), api.hand()
    now = api.core.clock()
    await api.core.circuits.open(Circuit(KEY, 7, openings=1, open_since=now, probe_at=now + 30 * SECOND))
    evidence = Evidence()
    evidence.fields["circuit"] = {"provider": KEY.provider, "model": KEY.model}
    error = JobError("CIRCUIT_OPEN", "api.example.com (gpt-4o-mini) failed 7 times in a row and is not asked")
    again = RetryAt(now + 40 * SECOND, error, reason=Reason.CIRCUIT_OPEN, charged=False)
    await hand.settle(await hand.claim(task_id), again, evidence)
    return task_id


async def test_why_tells_that_the_provider_is_down_and_when_it_is_tried_again(api: Api) -> None:
    task_id = await refused_by_a_circuit(api)

    why = (await api.get(f"/v1/tasks/{task_id}/why")).json()

    assert why["waiting_for"] == "provider_circuit"
    assert "api.example.com (gpt-4o-mini) has failed 7 times in a row" in why["explanation"]
    facts = why["facts"]
    assert (facts["provider"], facts["model"], facts["failures"]) == ("api.example.com", "gpt-4o-mini", 7)
    assert facts["open_since"] < facts["next_probe_at"] < facts["next_attempt_at"]


async def test_a_refusal_is_no_attempt_and_is_told_as_such(api: Api) -> None:
    task = await api.read(await refused_by_a_circuit(api))

    assert (task["status"], task["attempt"]) == ("queued", 0)
    assert [entry["reason"] for entry in task["history"]] == ["accepted", "claimed", "circuit_open"]


async def test_once_the_circuit_has_closed_the_task_only_waits_for_its_time(api: Api) -> None:
    task_id = await refused_by_a_circuit(api)
    (circuit,) = await api.core.circuits.list_open()
    await api.core.circuits.close(circuit)

    why = (await api.get(f"/v1/tasks/{task_id}/why")).json()

    assert why["waiting_for"] == "retry"


def with_models(settings: Settings, simulator: Server, **changes: Any) -> Settings:
    """The settings of a worker beside this API."""
    models = {"openai_api_key": "simulated", "openai_base_url": f"{simulator.http_url}/v1"}
    given = {**settings.model_dump(), **models, "web_search_provider": "none", **changes}
    return load_settings(_env_file=None, **given)


async def test_a_routed_task_gets_the_policy_of_its_agent(api: Api, simulator: Server) -> None:
    hasty = [replace(spec, retry=RetryWish(max_attempts=1)) if spec.name == "CodeAgent" else spec for spec in BUILT_IN]
    execution = await build_execution(with_models(api.settings, simulator), registry=Registry(hasty))
    task_id = await api.submit("Write a Python function that adds two numbers. [[sim error=500 role=coder]]")
    before = await api.read(task_id)

    try:
        await execution.worked[TASKS].runner.run(task_id, worker="w1")
    finally:
        await execution.close()

    task = await api.read(task_id)
    assert (before["max_attempts"], before["retry"]["max_attempts"]) == (3, 3)
    assert (task["status"], task["selected_agent"]) == ("failed", "CodeAgent")
    assert (task["attempt"], task["max_attempts"], task["retry"]["max_attempts"]) == (1, 1, 1)


@pytest.mark.parametrize("failures", [2, 0])
async def test_the_workers_gauge_shows_which_circuits_are_open(api: Api, simulator: Server, failures: int) -> None:
    settings = with_models(api.settings, simulator, circuit_failures=failures)
    chat = ChatModels.from_settings(settings)
    guarded = guard(replace(api.core, settings=settings), chat, NoSearch())
    labels = {"provider": chat.circuit_of(ModelRole.CODE).provider, "model": "gpt-4o-mini"}

    async def ask() -> type[Exception]:
        with pytest.raises((LlmUnavailable, CircuitOpen)) as caught:
            await guarded.chat.complete(ModelRole.CODE, [Message("user", "x [[sim error=500]]")])
        return caught.type

    shown = api.core.metrics.registry.get_sample_value("circuit_open", labels)
    raised = [await ask() for _ in range(3)]
    shown_then = api.core.metrics.registry.get_sample_value("circuit_open", labels)
    await guarded.refresh()
    await guarded.close()
    await chat.aclose()

    if failures:
        assert (shown, shown_then) == (0.0, 1.0)
        assert raised == [LlmUnavailable, LlmUnavailable, CircuitOpen]
    else:
        assert (shown, shown_then) == (None, None)
        assert raised == [LlmUnavailable] * 3
