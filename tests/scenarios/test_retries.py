"""A provider that is down, refuses or answers nonsense: what the whole product makes of it."""

import time
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path

import httpx
import pytest

from tests.processes import until
from tests.scenarios.stack import Json, Stack, names, reasons, running_stack

FUNCTION = "Write a Python function that reverses a string."
TASKS = 50
OPEN_SEC, OPEN_MAX_SEC = 1.0, 2.0


class Provider:
    """The simulator behind a stack, as those see it who run it."""

    def __init__(self, stack: Stack) -> None:
        self._url = stack.manifest["environment"]["OPENAI_BASE_URL"].removesuffix("/v1")

    def breaks(self, **fault: object) -> None:
        httpx.post(f"{self._url}/_sim/faults", json=fault, trust_env=False).raise_for_status()

    def is_mended(self) -> None:
        httpx.delete(f"{self._url}/_sim/faults", trust_env=False).raise_for_status()

    def calls(self) -> list[Json]:
        """The latest thousand calls, the oldest first."""
        found: list[Json] = httpx.get(f"{self._url}/_sim/requests", trust_env=False).json()["recent"]
        return found

    def forgets(self) -> None:
        httpx.delete(f"{self._url}/_sim/requests", trust_env=False).raise_for_status()


@pytest.fixture
def impatient(tmp_path: Path) -> Iterator[Stack]:
    """A stack of its own, whose circuits open for a second or two."""
    times = {"CIRCUIT_OPEN_SEC": str(OPEN_SEC), "CIRCUIT_OPEN_MAX_SEC": str(OPEN_MAX_SEC), "CIRCUIT_FAILURES": "5"}
    with running_stack(tmp_path, "--workers", "2", **times) as stack:
        yield stack


@pytest.mark.long
@pytest.mark.timeout(120)
def test_a_provider_that_is_down_is_left_alone_and_everything_completes_once_it_is_back(impatient: Stack) -> None:
    provider = Provider(impatient)
    provider.breaks(error="500")

    task_ids = [
        impatient.submit(FUNCTION, agent="CodeAgent", retry={"max_attempts": 6, "initial_seconds": 0.2})
        for _ in range(TASKS)
    ]
    refused = until(lambda: waiting_for_the_circuit(impatient, task_ids), "a task waits for the circuit")
    why = impatient.client.get(f"/v1/tasks/{refused}/why").json()
    examined = impatient.orchestrate("doctor").stdout
    calls_at_first, begins_at = len(provider.calls()), time.monotonic()
    until(
        lambda: all("circuit_open" in reasons(impatient.read(task_id)) for task_id in task_ids) or None,
        "every task was refused by the circuit",
        patience=60,
    )
    lasted = time.monotonic() - begins_at
    calls_while_open = len(provider.calls()) - calls_at_first
    provider.is_mended()
    tasks = [impatient.final(task_id, patience=60) for task_id in task_ids]

    assert set(why["facts"]) >= {"provider", "model", "open_since", "next_probe_at", "failures"}
    assert why["facts"]["failures"] >= 5
    assert "left alone because it is down: 127.0.0.1" in examined
    # One probe for each time the circuit was open, and no more; every task by itself would have been several.
    assert calls_at_first <= TASKS
    assert calls_while_open <= lasted / (OPEN_SEC * 0.8) + 2
    assert {task["status"] for task in tasks} == {"completed"}
    assert all(1 <= task["attempt"] <= 6 for task in tasks)
    assert all(task["cost"]["model_calls"] == task["attempt"] for task in tasks)


def waiting_for_the_circuit(stack: Stack, task_ids: list[str]) -> str | None:
    waiting = (task_id for task_id in task_ids if stack.read(task_id)["error"])
    return next((one for one in waiting if _why(stack, one) == "provider_circuit"), None)


def _why(stack: Stack, task_id: str) -> str:
    return str(stack.client.get(f"/v1/tasks/{task_id}/why").json()["waiting_for"])


def test_an_answer_without_code_is_corrected_by_the_next_attempt(stack: Stack) -> None:
    provider = Provider(stack)
    provider.forgets()

    task = stack.run(f"{FUNCTION} [[sim schema uncorrected role=coder]]", agent="CodeAgent")

    assert task["status"] == "completed"
    assert names(task["agent_runs"]) == [("CodeAgent", "executor", "failed"), ("CodeAgent", "executor", "completed")]
    assert [call["corrections"] for call in provider.calls() if call["role"] == "coder"] == [0, 1]


def test_a_routing_that_fits_no_schema_is_corrected_and_the_agent_is_not_told(stack: Stack) -> None:
    provider = Provider(stack)
    provider.forgets()

    task = stack.run(f"{FUNCTION} [[sim schema uncorrected role=router]]")

    assert task["status"] == "completed"
    assert task["agent_runs"][0]["error"]["type"] == "AGENT_OUTPUT_INVALID"
    assert "agent_name: Field required" in task["agent_runs"][0]["error"]["message"]
    told = [(call["role"], call["corrections"]) for call in provider.calls()]
    assert told == [("router", 0), ("router", 1), ("coder", 0)]


def test_a_task_whose_time_for_retries_is_over_fails_and_says_so(stack: Stack) -> None:
    retry = {"max_attempts": 20, "initial_seconds": 0.2, "max_seconds": 0.2, "max_total_seconds": 1.0}

    task = stack.run(f"{FUNCTION} [[sim error=429]]", agent="CodeAgent", retry=retry)

    assert (task["status"], task["error"]["type"]) == ("failed", "LLM_RATE_LIMITED")
    assert "no attempt may start later than 1 s after the first was queued" in task["error"]["message"]
    assert 1 < task["attempt"] < 20
    begun = [datetime.fromisoformat(one["at"]) for one in task["history"] if one["reason"] == "claimed"]
    assert begun[-1] - datetime.fromisoformat(task["queued_at"]) <= timedelta(seconds=1.5)
