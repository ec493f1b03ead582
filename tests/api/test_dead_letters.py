"""Tasks that failed for good: listed, read, re-driven one by one or by filter."""

import asyncio
from datetime import timedelta
from typing import Any, cast

import pytest

from app.clock import to_iso
from app.deadletters.models import DeadLetterQuery
from app.deadletters.schemas import DeadLetterListResponse, DeadLetterResponse, RedriveResponse
from app.deadletters.service import DeadLetterService
from app.jobs.models import JobError
from app.jobs.outcomes import Cancelled
from app.tasks.service import TaskService
from tests.api.conftest import StartApi
from tests.api.harness import NOBODY, Api, Json, conforms, fields_of, problem_of

ONCE = {"Idempotency-Key": "the 3 o'clock outage"}
RED, BLUE = {"X-API-Key": "key-of-red"}, {"X-API-Key": "key-of-blue"}
TWO_TENANTS = "key-of-red:red:member,key-of-blue:blue:member"


async def listing(api: Api, *, headers: Any = None, **params: Any) -> Json:
    response = await api.get("/v1/dead-letters", params=params, headers=headers)
    assert response.status_code == 200, response.text
    body: Json = response.json()
    conforms(DeadLetterListResponse, body)
    return body


def ids_of(page: Json) -> list[str]:
    return [item["task_id"] for item in page["items"]]


async def dead(api: Api, *, error_type: str = "LLM_ERROR", headers: Any = None, **body: Any) -> str:
    task_id = await api.submit(headers=headers, **body)
    await api.hand().fail(task_id, error_type=error_type)
    return task_id


async def redrive(api: Api, *, headers: Any = None, **body: Any) -> Json:
    response = await api.post("/v1/dead-letters/redrive", body, headers=headers)
    assert response.status_code == 202, response.text
    conforms(RedriveResponse, response.json())
    answer: Json = response.json()
    return answer


async def statuses(api: Api, task_ids: list[str]) -> list[str]:
    return [(await api.read(task_id))["status"] for task_id in task_ids]


async def test_only_what_failed_is_a_dead_letter(api: Api) -> None:
    failed = await dead(api)
    done, cancelled, _waiting = [await api.submit() for _ in range(3)]
    await api.hand().complete(done)
    await api.post(f"/v1/tasks/{cancelled}/cancel")

    assert ids_of(await listing(api)) == [failed]


async def test_a_dead_letter_has_its_reason_and_its_whole_history(api: Api) -> None:
    task_id = await api.submit(session_id="s", agent="EchoAgent")
    await api.hand().requeue(task_id, after=timedelta(), error=JobError("LLM_RATE_LIMITED", "slow down"))
    await api.hand().fail(task_id, message="the model said no")
    await api.post(f"/v1/tasks/{task_id}/retry")
    await api.hand().fail(task_id, message="and again")

    (letter,) = (await listing(api))["items"]

    task = await api.read(task_id)
    assert letter == {
        "task_id": task_id,
        "error": {"type": "LLM_ERROR", "message": "and again"},
        "attempts": 1,
        "max_attempts": 3,
        "failed_at": task["completed_at"],
        "created_at": task["created_at"],
        "selected_agent": "EchoAgent",
        "agent_type": "echo",
        "session_id": "s",
        "history": task["history"],
    }
    assert [entry["reason"] for entry in letter["history"]] == [
        "accepted", "claimed", "retry_scheduled", "claimed", "failed", "retried", "claimed", "failed",
    ]  # fmt: skip
    one = (await api.get(f"/v1/dead-letters/{task_id}")).json()
    conforms(DeadLetterResponse, one)
    assert one == {**letter, "api_version": "v1"}


async def test_the_newest_failure_is_first_whenever_the_task_was_accepted(api: Api) -> None:
    early, late = await api.submit(), await api.submit()
    await api.hand().fail(late)
    await asyncio.sleep(0.002)  # so that the failures do not share a millisecond
    await api.hand().fail(early)

    assert ids_of(await listing(api)) == [early, late]


async def test_pages_and_cursors_cover_everything_once(api: Api) -> None:
    known = [await dead(api) for _ in range(7)]

    pages = [await listing(api, page=number, page_size=3) for number in (1, 2, 3)]
    page = await listing(api, page_size=2)
    walked = ids_of(page)
    while page["next_cursor"]:
        await dead(api)
        page = await listing(api, page_size=2, cursor=page["next_cursor"])
        walked += ids_of(page)

    assert sorted(task_id for page in pages for task_id in ids_of(page)) == sorted(known)
    assert sorted(walked) == sorted(known)
    assert (pages[0]["meta"]["total_items"], pages[0]["meta"]["total_is_capped"]) == (7, False)


async def test_filters_narrow_the_list_and_combine(api: Api) -> None:
    refused, lost = await dead(api, error_type="LLM_AUTH"), await dead(api, error_type="WORKER_LOST")
    chosen = await dead(api, error_type="LLM_AUTH", agent="EchoAgent")

    assert set(ids_of(await listing(api, error_type="LLM_AUTH"))) == {refused, chosen}
    assert ids_of(await listing(api, error_type="WORKER_LOST")) == [lost]
    assert ids_of(await listing(api, error_type="TIMEOUT")) == []
    assert ids_of(await listing(api, agent_type="echo")) == [chosen]
    assert ids_of(await listing(api, agent_type="content")) == []
    assert ids_of(await listing(api, agent_type="echo", error_type="WORKER_LOST")) == []
    assert (await listing(api, error_type="LLM_AUTH"))["meta"]["total_items"] == 2


async def test_a_span_of_time_has_its_beginning_and_not_its_end(api: Api) -> None:
    first = await dead(api)
    await asyncio.sleep(0.002)  # so that the failures do not share a millisecond
    second = await dead(api)
    late = (await api.read(second))["completed_at"]

    assert ids_of(await listing(api, failed_after=late)) == [second]
    assert ids_of(await listing(api, failed_before=late)) == [first]


async def test_empty_filters_are_no_filters(api: Api) -> None:
    task_id = await dead(api)

    response = await api.get("/v1/dead-letters?error_type=&agent_type=&failed_after=&failed_before=&page=1")

    assert ids_of(response.json()) == [task_id]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("page", "0"),
        ("page_size", "101"),
        ("error_type", "x" * 65),
        ("agent_type", "x" * 65),
        ("failed_after", "yesterday"),
        ("failed_before", "0001-01-01T00:00:00+14:00"),
    ],
)
async def test_a_parameter_out_of_bounds_is_refused_by_name(api: Api, name: str, value: str) -> None:
    response = await api.get("/v1/dead-letters", params={name: value})

    assert fields_of(problem_of(response, 422, "VALIDATION_ERROR")) == [name]


async def test_a_span_that_ends_before_it_begins_is_refused(api: Api) -> None:
    span = {"failed_after": "2026-02-01T00:00:00Z", "failed_before": "2026-01-01T00:00:00Z"}

    problem_of(await api.get("/v1/dead-letters", params=span), 422, "VALIDATION_ERROR")
    problem_of(await api.post("/v1/dead-letters/redrive", span), 422, "VALIDATION_ERROR")


async def test_what_is_not_dead_is_a_404(api: Api) -> None:
    open_one, cancelled = await api.submit(), await api.submit()
    await api.hand().settle(await api.hand().claim(cancelled), Cancelled())

    for task_id in (open_one, cancelled):
        problem_of(await api.get(f"/v1/dead-letters/{task_id}"), 404, "DEAD_LETTER_NOT_FOUND")
    problem_of(await api.post(f"/v1/dead-letters/{cancelled}/redrive"), 404, "DEAD_LETTER_NOT_FOUND")
    problem_of(await api.post(f"/v1/dead-letters/{open_one}/redrive"), 409, "TASK_NOT_RETRYABLE")
    for method, rest in (("GET", ""), ("POST", "/redrive")):
        response = await api.client.request(method, f"/v1/dead-letters/{NOBODY}{rest}")
        problem_of(response, 404, "TASK_NOT_FOUND")


async def test_one_dead_letter_is_redriven_and_is_none_any_more(api: Api) -> None:
    task_id = await dead(api)

    response = await api.post(f"/v1/dead-letters/{task_id}/redrive")

    assert response.status_code == 202
    assert (response.json()["status"], response.json()["attempt"]) == ("queued", 0)
    assert [entry["status"] for entry in response.json()["history"]] == ["queued", "processing", "failed", "queued"]
    assert ids_of(await listing(api)) == []
    await api.hand().complete(task_id)
    assert (await api.read(task_id))["status"] == "completed"


async def test_a_repeated_redrive_of_one_with_its_key_does_it_once(api: Api) -> None:
    task_id = await dead(api)

    answers = [await api.post(f"/v1/dead-letters/{task_id}/redrive", headers=ONCE) for _ in range(2)]

    assert [answer.status_code for answer in answers] == [202, 202]
    assert [entry["reason"] for entry in (await api.read(task_id))["history"]].count("retried") == 1


async def test_many_are_redriven_by_filter_and_the_others_stay(api: Api) -> None:
    mended = [await dead(api, error_type="LLM_AUTH") for _ in range(3)]
    other = await dead(api, error_type="BUDGET_EXCEEDED")

    answer = await redrive(api, error_type="LLM_AUTH")

    assert answer["redriven"] == 3
    assert sorted(answer["task_ids"]) == sorted(mended)
    assert answer["remaining"] is False
    assert set(await statuses(api, mended)) == {"queued"}
    assert ids_of(await listing(api)) == [other]


async def test_a_limit_takes_the_oldest_failures_and_says_that_more_are_left(api: Api) -> None:
    known = []
    for _ in range(4):
        known.append(await dead(api))
        await asyncio.sleep(0.002)  # so that the failures do not share a millisecond

    first = await redrive(api, all=True, limit=3)
    second = await redrive(api, all=True, limit=3)

    assert (first["task_ids"], first["remaining"]) == (known[:3], True)
    assert (second["task_ids"], second["remaining"]) == (known[3:], False)


async def test_a_span_of_failures_is_redriven(api: Api) -> None:
    before = await dead(api)
    await asyncio.sleep(0.002)  # so that the failures do not share a millisecond
    since = to_iso(api.core.clock())
    during = await dead(api)

    answer = await redrive(api, failed_after=since, agent_type=None)

    assert answer["task_ids"] == [during]
    assert ids_of(await listing(api)) == [before]


async def test_everything_is_redriven_only_when_that_is_said(api: Api) -> None:
    task_id = await dead(api)

    for body in ({}, {"all": False}, {"limit": 500}):
        refused = await api.post("/v1/dead-letters/redrive", body)
        assert fields_of(problem_of(refused, 422, "VALIDATION_ERROR")) == ["all"]

    assert await statuses(api, [task_id]) == ["failed"]
    assert (await redrive(api, all=True))["task_ids"] == [task_id]


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"all": True, "limit": 0}, "limit"),
        ({"all": True, "limit": 501}, "limit"),
        ({"all": True, "limit": "5"}, "limit"),
        ({"all": "yes"}, "all"),
        ({"error_type": ""}, "error_type"),
        ({"error_type": "x" * 65}, "error_type"),
        ({"agent_type": ["code"]}, "agent_type"),
        ({"failed_after": "yesterday"}, "failed_after"),
        ({"failed_before": "9999-12-31T23:59:59-14:00"}, "failed_before"),
        ({"errortype": "LLM_ERROR"}, "errortype"),
    ],
)
async def test_a_wrong_filter_is_refused_by_name(api: Api, body: Json, field: str) -> None:
    response = await api.post("/v1/dead-letters/redrive", body)

    assert fields_of(problem_of(response, 422, "VALIDATION_ERROR")) == [field]


async def test_nothing_to_redrive_is_no_error(api: Api) -> None:
    assert await redrive(api, all=True) == {"redriven": 0, "task_ids": [], "remaining": False, "api_version": "v1"}


async def test_twenty_requests_at_once_redrive_each_failure_once(api: Api) -> None:
    known = [await dead(api) for _ in range(5)]

    answers = await asyncio.gather(*(redrive(api, all=True) for _ in range(20)))

    assert sorted(task_id for answer in answers for task_id in answer["task_ids"]) == sorted(known)
    for task_id in known:
        assert [entry["reason"] for entry in (await api.read(task_id))["history"]].count("retried") == 1


async def test_a_failure_that_came_after_the_request_had_decided_is_left_alone(api: Api) -> None:
    # given a failure that one request has seen, and that was re-driven and followed by another since
    task_id = await dead(api)
    seen = (await api.core.store.get(task_id)).document["completed_at"]
    await asyncio.sleep(0.002)  # so that the failures do not share a millisecond
    await api.post(f"/v1/dead-letters/{task_id}/redrive")
    await api.hand().fail(task_id)

    begun = await api.app.state.task_api.tasks.begin_again("default", task_id, request="late", ended_at=seen)

    assert begun is False
    assert await statuses(api, [task_id]) == ["failed"]


async def test_the_same_request_again_gives_the_first_answer_and_redrives_nothing_new(api: Api) -> None:
    known = [await dead(api) for _ in range(2)]
    first = await api.post("/v1/dead-letters/redrive", {"all": True}, headers=ONCE)
    for task_id in known:
        await api.hand().fail(task_id)
    later = await dead(api)

    second = await api.post("/v1/dead-letters/redrive", {"all": True}, headers=ONCE)

    assert sorted(first.json()["task_ids"]) == sorted(known)
    assert second.json() == first.json()
    assert "idempotent-replayed" not in first.headers
    assert second.headers["idempotent-replayed"] == "true"
    assert set(await statuses(api, [*known, later])) == {"failed"}


async def test_the_same_key_with_another_filter_is_refused(api: Api) -> None:
    await redrive(api, all=True, headers=ONCE)

    response = await api.post("/v1/dead-letters/redrive", {"error_type": "LLM_ERROR"}, headers=ONCE)

    problem_of(response, 422, "IDEMPOTENCY_KEY_REUSED")


async def test_ten_requests_at_once_with_one_key_all_get_the_first_answer(api: Api) -> None:
    known = [await dead(api) for _ in range(5)]

    answers = await asyncio.gather(*(redrive(api, all=True, headers=ONCE) for _ in range(10)))

    assert {tuple(sorted(answer["task_ids"])) for answer in answers} == {tuple(sorted(known))}


class Crash(Exception):
    """Stands for the API process dying."""


class DyingTasks:
    """Begins so many series of attempts and then dies."""

    def __init__(self, tasks: TaskService, *, after: int) -> None:
        self._tasks = tasks
        self._left = after

    async def begin_again(self, *args: Any, **options: Any) -> bool:
        if not self._left:
            raise Crash
        self._left -= 1
        return await self._tasks.begin_again(*args, **options)


@pytest.mark.parametrize("after", [0, 2])
async def test_a_request_that_died_half_way_is_made_whole_by_its_repetition(api: Api, after: int) -> None:
    known = [await dead(api) for _ in range(4)]
    service = api.app.state.dead_letters
    dying = DeadLetterService(
        service._repository,
        cast("TaskService", DyingTasks(service._tasks, after=after)),
        registry=service._registry,
        idempotency=service._idempotency,
    )
    with pytest.raises(Crash):
        await dying.redrive_many(
            "default", DeadLetterQuery(), limit=100, everything=True, idempotency_key=ONCE["Idempotency-Key"]
        )
    began = (await statuses(api, known)).count("queued")
    later = await dead(api)

    answer = await redrive(api, all=True, headers=ONCE)

    assert began == after
    assert sorted(answer["task_ids"]) == sorted(known)
    assert set(await statuses(api, known)) == {"queued"}
    assert await statuses(api, [later]) == ["failed"]


async def test_another_tenant_reads_and_redrives_only_its_own(start_api: StartApi) -> None:
    async with start_api(api_keys=TWO_TENANTS) as api:
        red = await dead(api, headers=RED)
        blue = await dead(api, headers=BLUE)

        assert ids_of(await listing(api, headers=BLUE)) == [blue]
        assert (await listing(api, headers=BLUE))["meta"]["total_items"] == 1
        problem_of(await api.get(f"/v1/dead-letters/{red}", headers=BLUE), 404, "TASK_NOT_FOUND")
        problem_of(await api.post(f"/v1/dead-letters/{red}/redrive", headers=BLUE), 404, "TASK_NOT_FOUND")
        assert (await redrive(api, all=True, headers=BLUE))["task_ids"] == [blue]
        assert (await api.read(red, headers=RED))["status"] == "failed"
