"""The product's main job on the whole stack: a sentence in over HTTP, evidence out."""

import re
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta

import httpx

from tests.processes import until
from tests.scenarios.stack import KEY, Json, Stack, names, reasons, statuses

ARTICLE = "Write a short article about durable queues, with sources."
FUNCTION = "Write a Python function that reverses a string."
CANARY = "xylophone-canary-7f3a"


def entry(task: Json, reason: str) -> Json:
    return next(one for one in task["history"] if one["reason"] == reason)


def test_a_content_task_ends_with_a_text_its_sources_and_what_it_cost(stack: Stack) -> None:
    task = stack.run(ARTICLE)

    assert task["status"] == "completed"
    assert (task["selected_agent"], task["agent_type"]) == ("ContentAgent", "content")
    assert task["routing"]["confidence"] >= 0.5
    assert task["peer_routing_reason"]
    assert task["result"]["summary"]
    assert len(task["result"]["raw_output"]) > 200
    assert task["result"]["code_language"] is None
    assert task["result"]["citations"]
    assert all(citation["title"] and citation["url"] for citation in task["result"]["citations"])
    assert task["cost"]["total_tokens"] == task["cost"]["prompt_tokens"] + task["cost"]["completion_tokens"] > 0
    assert 0 < task["cost"]["usd_estimate"] < 0.1


def test_both_runs_of_a_task_are_on_record(stack: Stack) -> None:
    task = stack.run(ARTICLE)

    runs = task["agent_runs"]
    assert names(runs) == [("PeerAgent", "router", "completed"), ("ContentAgent", "executor", "completed")]
    assert all(run["model"] and run["duration_ms"] >= 0 and run["token_usage"]["total"] > 0 for run in runs)
    assert runs[1]["tools_used"] == ["web_search"]
    assert sum(run["token_usage"]["total"] for run in runs) == task["cost"]["total_tokens"]
    # The routing, the plan, the draft and the self-check.
    assert task["cost"]["model_calls"] == 4
    assert statuses(task) == ["queued", "processing", "completed"]
    assert task["attempt"] == 1


def test_a_code_task_ends_with_code_and_its_language(stack: Stack) -> None:
    task = stack.run(FUNCTION)

    assert task["status"] == "completed"
    assert (task["selected_agent"], task["agent_type"]) == ("CodeAgent", "code")
    assert task["result"]["code_language"] == "python"
    assert "def " in task["result"]["raw_output"]


def test_a_task_nobody_can_do_fails_and_says_so(stack: Stack) -> None:
    task = stack.run("Book me a flight to Paris for next Friday.")

    assert task["status"] == "failed"
    assert task["error"]["type"] == "UNKNOWN_TASK_TYPE"
    assert task["attempt"] == 1
    assert names(task["agent_runs"])[0][:2] == ("PeerAgent", "router")


def test_a_running_task_that_is_cancelled_stops_within_a_second_and_stays_cancelled(stack: Stack) -> None:
    task_id = stack.submit(f"{ARTICLE} [[sim latency=20]]")
    stack.waits_for_the_model(task_id)

    asked_at = time.monotonic()
    response = stack.client.post(f"/v1/tasks/{task_id}/cancel")
    task = stack.final(task_id)
    took = time.monotonic() - asked_at

    assert response.status_code == 202
    assert (task["status"], task["error"]["type"]) == ("cancelled", "CANCELLED")
    assert took < 1.5
    assert stack.calls_in_progress() == 0
    assert stack.client.post(f"/v1/tasks/{task_id}/cancel").status_code == 409
    assert stack.read(task_id)["history"] == task["history"]


def test_a_failed_task_is_retried_and_completes_with_its_story_kept(stack: Stack) -> None:
    task_id = stack.submit(f"{FUNCTION} [[sim flaky=1 error=401 role=router]]")
    failed = stack.final(task_id)

    response = stack.client.post(f"/v1/tasks/{task_id}/retry")
    task = stack.final(task_id)

    assert (failed["status"], failed["error"]["type"]) == ("failed", "LLM_AUTH")
    assert response.status_code == 202
    assert task["status"] == "completed"
    assert task["error"] is None
    assert reasons(task) == ["accepted", "claimed", "failed", "retried", "claimed", "finished"]
    assert len(task["agent_runs"]) == 3


def test_a_provider_that_asks_to_wait_is_given_that_time_and_the_task_completes(stack: Stack) -> None:
    task = stack.run(f"{ARTICLE} [[sim flaky=1 error=429 retry_after=1 role=router]]")

    assert task["status"] == "completed"
    assert task["attempt"] == 2
    assert reasons(task) == ["accepted", "claimed", "retry_scheduled", "claimed", "finished"]
    assert entry(task, "retry_scheduled")["error"]["type"] == "LLM_RATE_LIMITED"
    refused, again = (datetime.fromisoformat(task["history"][n]["at"]) for n in (2, 3))
    assert timedelta(seconds=1) <= again - refused < timedelta(seconds=3)


def test_a_provider_that_fails_for_good_ends_the_task_after_its_attempts(stack: Stack) -> None:
    task = stack.run(f"{FUNCTION} [[sim error=500 role=coder]]")

    assert (task["status"], task["error"]["type"]) == ("failed", "LLM_ERROR")
    assert task["attempt"] == task["max_attempts"] == 3
    # The routing of the first attempt was kept, not paid for again.
    assert [run["agent_role"] for run in task["agent_runs"]].count("router") == 1


def test_a_task_ends_at_its_deadline(stack: Stack) -> None:
    task = stack.run(f"{ARTICLE} [[sim latency=20]]", deadline_seconds=1)

    assert (task["status"], task["error"]["type"]) == ("failed", "DEADLINE_EXCEEDED")
    lasted = datetime.fromisoformat(task["completed_at"]) - datetime.fromisoformat(task["created_at"])
    assert lasted < timedelta(seconds=3)


def test_a_task_whose_budget_is_used_up_is_stopped(stack: Stack) -> None:
    task = stack.run(ARTICLE, budget={"model_calls": 1})

    assert (task["status"], task["error"]["type"]) == ("failed", "BUDGET_EXCEEDED")


def test_prefer_wait_answers_with_the_finished_task(stack: Stack) -> None:
    response = stack.client.post("/v1/agent/execute", json={"task": FUNCTION}, headers={"Prefer": "wait=20"})

    assert response.status_code == 202
    assert response.headers["preference-applied"] == "wait=20"
    assert response.json()["status"] == "completed"
    assert response.json()["task"]["result"]["code_language"] == "python"


def test_an_agent_that_was_named_is_not_routed_to(stack: Stack) -> None:
    task = stack.run("Something about strings.", agent="CodeAgent")

    assert task["status"] == "completed"
    assert names(task["agent_runs"]) == [("CodeAgent", "executor", "completed")]


def test_the_same_request_sent_twice_is_done_once(stack: Stack) -> None:
    headers = {"Idempotency-Key": f"scenario {time.time_ns()}"}

    first, second = stack.submit(FUNCTION, headers=headers), stack.submit(FUNCTION, headers=headers)

    assert first == second
    assert reasons(stack.final(first)) == ["accepted", "claimed", "finished"]


def test_fifty_tasks_at_once_are_all_done(stack: Stack) -> None:
    session = f"fifty-{time.time_ns()}"
    with ThreadPoolExecutor(10) as pool:
        task_ids = list(pool.map(lambda _: stack.submit(FUNCTION, session_id=session), range(50)))

    ended = [stack.final(task_id, patience=30) for task_id in task_ids]

    assert {task["status"] for task in ended} == {"completed"}
    assert {task["attempt"] for task in ended} == {1}
    listed = stack.client.get("/v1/tasks", params={"session_id": session, "page_size": 100}).json()
    assert {item["task_id"] for item in listed["items"]} == set(task_ids)


def test_the_stream_tells_the_whole_story_of_a_task(stack: Stack) -> None:
    task_id = stack.submit(f"{FUNCTION} [[sim latency=0.3]]")

    events = list(stack.events(task_id, after="0"))

    assert [event.json()["status"] for event in events if event.event == "message"] == [
        "queued",
        "processing",
        "completed",
    ]


def test_what_was_done_shows_in_the_metrics(stack: Stack) -> None:
    before = stack.client.get("/v1/system/metrics").json()
    stack.run(FUNCTION)

    def counted() -> Json | None:
        now: Json = stack.client.get("/v1/system/metrics").json()
        return (
            now if now["tasks_per_agent"].get("CodeAgent", 0) > before["tasks_per_agent"].get("CodeAgent", 0) else None
        )

    after = until(counted, "the roll-up has counted it")
    assert after["total_tasks"] > before["total_tasks"]
    assert after["workers"] == 1
    assert after["api_health"] == {"mongo": "up", "redis": "up"}
    assert after["p95_latency_ms"] > 0


def test_neither_logs_nor_metrics_hold_a_prompt_or_a_key(stack: Stack) -> None:
    for task in (f"Write about the {CANARY}.", f"Write Python about the {CANARY}. [[sim error=400]]"):
        stack.run(task, session_id="canary", metadata={"label": CANARY})
    stack.client.post("/v1/agent/execute", json={"task": "x", CANARY: CANARY, "session_id": f"!{CANARY}"})
    stack.client.get("/v1/tasks", params={"q": CANARY})
    httpx.get(f"{stack.client.base_url}/v1/tasks", headers={"X-API-Key": f"wrong-{CANARY}"}, trust_env=False)

    told = stack.logs() + stack.process.read() + stack.client.get("/metrics").text

    assert len(told) > 1000
    assert CANARY not in told
    assert KEY not in told
    assert not re.search(r"Authorization: Bearer \S+", told)
