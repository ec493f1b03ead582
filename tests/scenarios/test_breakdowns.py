"""Parts of the stack die while there is work; the supervisor mends them and no task is lost."""

import contextlib
import os
import signal
from collections.abc import Iterator

import httpx
import pytest
from httpx_sse import ServerSentEvent

from tests.processes import until
from tests.scenarios.stack import Stack, reasons

FUNCTION = "Write a Python function that reverses a string."


@pytest.fixture(autouse=True)
def mended(stack: Stack) -> Iterator[None]:
    """Leaves the stack whole: API up and a worker that takes work."""
    yield
    stack.until_api_answers()
    stack.until_model_answers()
    assert stack.run(FUNCTION)["status"] == "completed"


def test_a_task_whose_worker_is_killed_is_done_by_the_next_one(stack: Stack) -> None:
    task_id = stack.submit(f"{FUNCTION} [[sim latency=2 role=router]]")
    stack.waits_for_the_model(task_id)

    stack.kill("worker-1")
    task = stack.final(task_id, patience=30)

    assert task["status"] == "completed"
    assert task["attempt"] == 2
    assert reasons(task) == ["accepted", "claimed", "worker_lost", "claimed", "finished"]
    assert task["history"][2]["error"]["type"] == "WORKER_LOST"
    lost, done = stack.client.get(f"/v1/tasks/{task_id}/attempts").json()["items"]
    assert (lost["outcome"], lost["replayable"], done["outcome"], done["replayable"]) == (
        "worker_lost", False, "completed", True
    )  # fmt: skip
    assert lost["worker"] not in {None, done["worker"]}


@pytest.mark.long
def test_a_worker_told_to_stop_hands_its_task_back_without_charging_the_attempt(stack: Stack) -> None:
    task_id = stack.submit(f"{FUNCTION} [[sim latency=3 role=router]]")
    stack.waits_for_the_model(task_id)

    stack.kill("worker-1", signal.SIGTERM)
    task = stack.final(task_id, patience=30)

    assert task["status"] == "completed"
    assert task["attempt"] == 1
    assert reasons(task) == ["accepted", "claimed", "worker_draining", "claimed", "finished"]


@pytest.mark.long
def test_a_worker_told_to_stop_finishes_what_it_can_in_time(stack: Stack) -> None:
    task_id = stack.submit(f"{FUNCTION} [[sim latency=0.4 role=coder]]")
    stack.waits_for_the_model(task_id)

    old = stack.kill("worker-1", signal.SIGTERM)
    task = stack.final(task_id, patience=30)

    assert reasons(task) == ["accepted", "claimed", "finished"]
    stack.came_back("worker-1", old)


@pytest.mark.long
@pytest.mark.long
def test_a_task_that_kills_every_worker_ends_in_the_dead_letter_and_can_be_revived(stack: Stack) -> None:
    task_id = stack.submit(f"{FUNCTION} [[sim latency=2 role=router]]")
    for attempt in (1, 2, 3):
        until(lambda n=attempt: _runs(stack, task_id, n), f"attempt {attempt} runs")  # type: ignore[misc]
        stack.kill("worker-1")

    dead = stack.final(task_id, patience=30)
    stack.client.post(f"/v1/tasks/{task_id}/retry")
    revived = stack.final(task_id, patience=30)

    assert (dead["status"], dead["error"]["type"], dead["attempt"]) == ("failed", "WORKER_LOST", 3)
    assert revived["status"] == "completed"


def _runs(stack: Stack, task_id: str, attempt: int) -> bool:
    task = stack.read(task_id)
    return bool(task["status"] == "processing" and task["attempt"] == attempt)


@pytest.mark.long
def test_a_stream_is_resumed_without_a_gap_after_the_api_was_killed(stack: Stack) -> None:
    task_id = stack.submit(f"{FUNCTION} [[sim latency=2 role=router]]")
    seen: list[ServerSentEvent] = []

    with contextlib.suppress(httpx.TransportError):
        for event in stack.events(task_id, after="0"):
            seen.append(event)
            if event.event == "message" and event.json()["status"] == "processing":
                stack.kill("api")
    assert [event.id for event in seen if event.event == "message"] == ["1", "2"]
    stack.until_api_answers()
    seen += stack.events(task_id, after=seen[-1].id)

    assert [(event.id, event.json()["status"]) for event in seen if event.event == "message"] == [
        ("1", "queued"),
        ("2", "processing"),
        ("3", "completed"),
    ]
    assert len({event.id for event in seen}) == len(seen)


@pytest.mark.long
def test_tasks_submitted_while_the_broker_is_down_are_accepted_and_done_once_it_is_back(stack: Stack) -> None:
    broker = stack.pid_of("broker")
    os.kill(broker, signal.SIGSTOP)

    task_ids = [stack.submit(FUNCTION) for _ in range(5)]
    os.kill(broker, signal.SIGKILL)
    ended = [stack.final(task_id, patience=30) for task_id in task_ids]

    assert {task["status"] for task in ended} == {"completed"}
    assert {task["attempt"] for task in ended} == {1}


@pytest.mark.long
def test_tasks_in_progress_survive_the_death_of_the_broker(stack: Stack) -> None:
    task_ids = [stack.submit(f"{FUNCTION} [[sim latency=1]]") for _ in range(5)]
    stack.waits_for_the_model(task_ids[-1])

    stack.kill("broker")
    ended = [stack.final(task_id, patience=30) for task_id in task_ids]

    assert {task["status"] for task in ended} == {"completed"}


def test_what_the_store_accepted_survives_its_death(stack: Stack) -> None:
    done = stack.run(FUNCTION)
    task_ids = [stack.submit(f"{FUNCTION} [[sim latency=1]]") for _ in range(10)]

    old = stack.kill("store")
    stack.came_back("store", old)
    stack.until_api_answers()
    ended = [stack.final(task_id, patience=30) for task_id in task_ids]

    assert {task["status"] for task in ended} == {"completed"}
    assert stack.read(done["task_id"]) == done


@pytest.mark.long
def test_a_provider_that_dies_in_the_middle_of_a_call_is_tried_again(stack: Stack) -> None:
    task_id = stack.submit(f"{FUNCTION} [[sim latency=1 role=router]]")
    stack.waits_for_the_model(task_id)

    stack.kill("simulator")
    task = stack.final(task_id, patience=30)

    assert reasons(task)[:4] == ["accepted", "claimed", "retry_scheduled", "claimed"]
    assert task["history"][2]["error"]["type"] == "LLM_ERROR"
    # It may be away for longer than three quick attempts; then the task says so and can be retried.
    assert task["status"] == "completed" or task["error"]["type"] == "LLM_ERROR"


@pytest.mark.long
@pytest.mark.long
def test_a_killed_worker_is_no_longer_counted_as_alive(stack: Stack) -> None:
    old = stack.kill("worker-1")
    stack.came_back("worker-1", old)

    def pids() -> list[int]:
        metrics = stack.client.get("/v1/system/metrics").json()
        return [worker["pid"] for worker in metrics["worker_details"]]

    until(lambda: pids() == [stack.pid_of("worker-1")], "only the new worker is listed")
