"""Reading, waiting for, cancelling, retrying and explaining one task."""

import asyncio
from datetime import datetime, timedelta

import pytest

from app.jobs.models import JobError
from app.jobs.outcomes import Cancelled, Finished
from app.jobs.transitions import Evidence
from app.tasks.schemas import TaskResponse, WhyResponse
from tests.api.harness import (
    NOBODY,
    RESULT,
    ROUTED,
    Api,
    Hand,
    Json,
    another_process,
    conforms,
    problem_of,
    somebody_waits_for,
)

STRANGE_IDS = ["x", "5", NOBODY.upper()[:-1], NOBODY + "0", "%00", "..%2f..", "%F0%9F%A6%8A", "$ne", "a" * 2000]
ROUTES = [("GET", ""), ("POST", "/cancel"), ("POST", "/retry"), ("GET", "/why"), ("GET", "/events")]


@pytest.mark.parametrize(("method", "rest"), [*ROUTES, ("POST", "/events/token")])
async def test_a_task_that_is_not_there_is_a_404(api: Api, method: str, rest: str) -> None:
    response = await api.client.request(method, f"/v1/tasks/{NOBODY}{rest}")

    problem_of(response, 404, "TASK_NOT_FOUND")


@pytest.mark.parametrize("strange", STRANGE_IDS, ids=lambda strange: strange[:12])
async def test_an_id_that_is_none_is_a_404(api: Api, strange: str) -> None:
    for method, rest in ROUTES:
        response = await api.client.request(method, f"/v1/tasks/{strange}{rest}")

        assert response.status_code == 404, (method, rest, response.text)
        assert response.headers["content-type"] == "application/problem+json"
        assert len(response.text) < 3 * len(strange) + 1000


async def test_a_finished_task_has_its_result_and_its_story(api: Api) -> None:
    task_id = await api.submit()

    await api.hand().complete(task_id)

    task = await api.read(task_id)
    conforms(TaskResponse, task)
    assert task["status"] == "completed"
    unused: Json = {"data": None, "files": [], "artifacts": [], "notes": [], "evaluation": None}
    assert task["result"] == {**RESULT, **unused}
    assert (task["selected_agent"], task["agent_type"]) == ("ContentAgent", "content")
    assert task["routing"].items() >= ROUTED["routing"].items()
    assert task["error"] is None
    assert [(entry["seq"], entry["status"]) for entry in task["history"]] == [
        (1, "queued"),
        (2, "processing"),
        (3, "completed"),
    ]
    times = [datetime.fromisoformat(task[name]) for name in ("created_at", "started_at", "completed_at")]
    assert times == sorted(times)


async def test_a_failed_task_names_its_error(api: Api) -> None:
    task_id = await api.submit()

    await api.hand().fail(task_id, error_type="UNKNOWN_TASK_TYPE", message="no agent does this")

    task = await api.read(task_id)
    conforms(TaskResponse, task)
    assert task["error"] == {"type": "UNKNOWN_TASK_TYPE", "message": "no agent does this"}
    assert task["result"] is None
    assert not any(task["cost"].values())


async def test_waiting_answers_as_soon_as_another_process_changes_the_status(api: Api) -> None:
    task_id = await api.submit()

    async with another_process(api.settings) as worker, asyncio.timeout(10):
        waiting = asyncio.create_task(api.read(task_id, params={"wait": 30}))
        await somebody_waits_for(api, task_id)
        await Hand(worker).claim(task_id)
        task = await waiting

    assert task["status"] == "processing"


async def test_waiting_for_a_finished_task_answers_at_once(api: Api) -> None:
    task_id = await api.submit()
    await api.hand().complete(task_id)

    async with asyncio.timeout(5):
        task = await api.read(task_id, params={"wait": 30})

    assert task["status"] == "completed"


async def test_waiting_in_vain_answers_with_the_task_as_it_is(api: Api) -> None:
    task_id = await api.submit()

    task = await api.read(task_id, params={"wait": 1})

    assert task["status"] == "queued"


@pytest.mark.parametrize("wait", ["-1", "soon", "1.5", "", "1e3"])
async def test_a_wait_that_is_no_number_of_seconds_is_refused(api: Api, wait: str) -> None:
    task_id = await api.submit()

    problem_of(await api.get(f"/v1/tasks/{task_id}", params={"wait": wait}), 422, "VALIDATION_ERROR")


async def test_a_queued_task_is_cancelled_at_once(api: Api) -> None:
    task_id = await api.submit()

    response = await api.post(f"/v1/tasks/{task_id}/cancel")

    assert response.status_code == 202
    conforms(TaskResponse, response.json())
    assert response.json()["status"] == "cancelled"
    assert response.json()["error"]["type"] == "CANCELLED"
    assert response.json()["completed_at"]


async def test_a_finished_task_cannot_be_cancelled(api: Api) -> None:
    done, failed, cancelled = [await api.submit() for _ in range(3)]
    await api.hand().complete(done)
    await api.hand().fail(failed)
    await api.post(f"/v1/tasks/{cancelled}/cancel")

    for task_id in (done, failed, cancelled):
        problem_of(await api.post(f"/v1/tasks/{task_id}/cancel"), 409, "TASK_ALREADY_FINISHED")


async def test_a_running_task_is_asked_to_stop_and_asking_again_does_no_harm(api: Api) -> None:
    task_id = await api.submit()
    job = await api.hand().claim(task_id)

    first = await api.post(f"/v1/tasks/{task_id}/cancel")
    second = await api.post(f"/v1/tasks/{task_id}/cancel")

    assert (first.status_code, second.status_code) == (202, 202)
    assert first.json()["status"] == "processing"
    assert first.json()["cancel_requested_at"]
    await api.hand().settle(job, Cancelled())
    assert (await api.read(task_id))["status"] == "cancelled"


async def test_fifty_cancellations_at_once_have_one_winner(api: Api) -> None:
    task_id = await api.submit()

    answers = await asyncio.gather(*(api.post(f"/v1/tasks/{task_id}/cancel") for _ in range(50)))

    assert sorted(answer.status_code for answer in answers) == [202] + [409] * 49
    assert [entry["status"] for entry in (await api.read(task_id))["history"]] == ["queued", "cancelled"]


async def test_a_cancelled_task_cannot_be_claimed(api: Api) -> None:
    task_id = await api.submit()
    await api.post(f"/v1/tasks/{task_id}/cancel")

    assert await api.core.store.claim(task_id, worker="late") is None


async def test_a_task_between_attempts_is_cancelled_at_once(api: Api) -> None:
    task_id = await api.submit()
    await api.hand().requeue(task_id, after=timedelta(minutes=5), error=JobError("LLM_ERROR", "a hiccup"))

    response = await api.post(f"/v1/tasks/{task_id}/cancel")

    assert response.json()["status"] == "cancelled"
    assert response.json()["error"]["type"] == "CANCELLED"


async def test_a_failed_task_is_retried_with_its_history_kept(api: Api) -> None:
    task_id = await api.submit()
    await api.hand().fail(task_id)

    response = await api.post(f"/v1/tasks/{task_id}/retry")

    assert response.status_code == 202
    body = response.json()
    conforms(TaskResponse, body)
    assert (body["status"], body["attempt"], body["error"], body["completed_at"]) == ("queued", 0, None, None)
    assert [entry["reason"] for entry in body["history"]] == ["accepted", "claimed", "failed", "retried"]
    await api.hand().complete(task_id)
    assert (await api.read(task_id))["status"] == "completed"


async def test_a_cancelled_task_can_be_retried(api: Api) -> None:
    task_id = await api.submit()
    await api.post(f"/v1/tasks/{task_id}/cancel")

    response = await api.post(f"/v1/tasks/{task_id}/retry")

    assert response.status_code == 202
    assert response.json()["cancel_requested_at"] is None
    await api.hand().complete(task_id)


async def test_only_a_failed_or_cancelled_task_can_be_retried(api: Api) -> None:
    queued, running, done = [await api.submit() for _ in range(3)]
    await api.hand().claim(running)
    await api.hand().complete(done)

    for task_id in (queued, running, done):
        problem_of(await api.post(f"/v1/tasks/{task_id}/retry"), 409, "TASK_NOT_RETRYABLE")


async def test_twenty_retries_at_once_queue_the_task_once(api: Api) -> None:
    task_id = await api.submit()
    await api.hand().fail(task_id)

    answers = await asyncio.gather(*(api.post(f"/v1/tasks/{task_id}/retry") for _ in range(20)))

    assert sorted(answer.status_code for answer in answers) == [202] + [409] * 19


async def test_a_repeated_retry_with_one_key_gives_the_first_answer(api: Api) -> None:
    task_id, once = await api.submit(), {"Idempotency-Key": "again"}
    await api.hand().fail(task_id)
    await api.post(f"/v1/tasks/{task_id}/retry", headers=once)

    second = await api.post(f"/v1/tasks/{task_id}/retry", headers=once)

    assert second.status_code == 202


async def test_twenty_retries_at_once_with_one_key_all_get_the_first_answer(api: Api) -> None:
    task_id, once = await api.submit(), {"Idempotency-Key": "again"}
    await api.hand().fail(task_id)

    answers = await asyncio.gather(*(api.post(f"/v1/tasks/{task_id}/retry", headers=once) for _ in range(20)))

    assert {answer.status_code for answer in answers} == {202}
    assert [entry["reason"] for entry in (await api.read(task_id))["history"]].count("retried") == 1


async def test_a_queued_task_waits_for_a_worker_and_says_so(api: Api) -> None:
    first, second = await api.submit(), await api.submit()

    why = (await api.get(f"/v1/tasks/{second}/why")).json()

    conforms(WhyResponse, why)
    assert why["waiting_for"] == "worker"
    assert "no worker that serves `agent_tasks` is alive" in why["explanation"]
    assert why["facts"]["live_workers"] == 0
    assert first != second
    assert why["facts"]["position"] in {1, 2}


async def test_a_task_between_attempts_says_when_the_next_one_is(api: Api) -> None:
    task_id = await api.submit()
    limited = JobError("LLM_RATE_LIMITED", "the provider asks to wait")
    await api.hand().requeue(task_id, after=timedelta(minutes=5), error=limited)

    why = (await api.get(f"/v1/tasks/{task_id}/why")).json()

    assert why["waiting_for"] == "provider_rate_limit"
    assert "Attempt 2 of 3" in why["explanation"]
    assert why["facts"]["next_attempt_at"]


async def test_a_running_and_a_finished_task_say_what_they_are_at(api: Api) -> None:
    task_id = await api.submit()
    job = await api.hand().claim(task_id)
    running = (await api.get(f"/v1/tasks/{task_id}/why")).json()
    await api.hand().settle(job, Finished({**ROUTED, "result": RESULT}), Evidence())
    finished = (await api.get(f"/v1/tasks/{task_id}/why")).json()

    assert running["waiting_for"] == "routing"
    assert "hand-1" in running["explanation"]
    assert finished["waiting_for"] == "nothing"
    assert "completed" in finished["explanation"]
