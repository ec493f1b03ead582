import asyncio
from typing import Any

import pytest

from app.tasks.schemas import TaskListResponse
from tests.api.harness import Api, Json, conforms, fields_of, problem_of

LAST_INSTANT = "9999-12-31T23:59:59-14:00"
FIRST_INSTANT = "0001-01-01T00:00:00+14:00"


async def listing(api: Api, **params: Any) -> Json:
    response = await api.get("/v1/tasks", params=params)
    assert response.status_code == 200, response.text
    body: Json = response.json()
    conforms(TaskListResponse, body)
    return body


def ids_of(page: Json) -> list[str]:
    return [item["task_id"] for item in page["items"]]


async def submitted(api: Api, number: int) -> list[str]:
    return [await api.submit(f"Write post number {n}.") for n in range(number)]


async def test_an_empty_list_is_a_page_of_nothing(api: Api) -> None:
    page = await listing(api)

    assert page["items"] == []
    assert page["next_cursor"] is None
    assert page["meta"] == {
        "page": 1,
        "page_size": 20,
        "total_items": 0,
        "total_pages": 0,
        "has_next": False,
        "has_previous": False,
        "total_is_capped": False,
    }


async def test_the_newest_task_is_first_and_shows_what_it_became(api: Api) -> None:
    old, new = await api.submit(session_id="s"), await api.submit(session_id="s")
    await api.hand().complete(new)

    page = await listing(api)

    assert set(ids_of(page)) == {old, new}
    created = [item["created_at"] for item in page["items"]]
    assert created == sorted(created, reverse=True)
    done = next(item for item in page["items"] if item["task_id"] == new)
    assert done | {"created_at": None, "completed_at": None} == {
        "task_id": new,
        "agent_type": "content",
        "selected_agent": "ContentAgent",
        "session_id": "s",
        "status": "completed",
        "created_at": None,
        "completed_at": None,
        "summary": "A post about queues.",
    }


async def test_pages_cover_everything_once(api: Api) -> None:
    known = await submitted(api, 7)

    pages = [await listing(api, page=number, page_size=3) for number in (1, 2, 3)]

    assert [len(page["items"]) for page in pages] == [3, 3, 1]
    assert {task_id for page in pages for task_id in ids_of(page)} == set(known)
    assert [(page["meta"]["has_previous"], page["meta"]["has_next"]) for page in pages] == [
        (False, True),
        (True, True),
        (True, False),
    ]
    assert {page["meta"]["total_pages"] for page in pages} == {3}
    assert {page["meta"]["total_items"] for page in pages} == {7}


async def test_a_page_behind_the_end_is_empty(api: Api) -> None:
    await submitted(api, 2)

    page = await listing(api, page=9, page_size=5)

    assert page["items"] == []
    assert page["meta"]["has_next"] is False


async def test_a_cursor_walk_sees_every_task_once_while_new_ones_arrive(api: Api) -> None:
    known = await submitted(api, 11)

    page = await listing(api, page_size=3)
    seen = ids_of(page)
    while page["next_cursor"]:
        await api.submit("Something that arrived meanwhile.")
        page = await listing(api, page_size=3, cursor=page["next_cursor"])
        assert page["meta"]["page"] is None
        seen += ids_of(page)

    assert sorted(seen) == sorted(known)


async def test_a_cursor_walk_tells_tasks_of_one_millisecond_apart(api: Api) -> None:
    known = await asyncio.gather(*(api.submit() for _ in range(40)))

    page, seen = await listing(api, page_size=7), []
    seen += ids_of(page)
    while page["next_cursor"]:
        page = await listing(api, page_size=7, cursor=page["next_cursor"])
        seen += ids_of(page)

    assert len(seen) == 40
    assert set(seen) == set(known)


async def test_filters_narrow_the_list_and_combine(api: Api) -> None:
    done, failed, open_one = await api.submit(session_id="a"), await api.submit(session_id="a"), await api.submit()
    await api.hand().complete(done)
    await api.hand().fail(failed)

    assert ids_of(await listing(api, status="completed")) == [done]
    assert ids_of(await listing(api, status="failed")) == [failed]
    assert ids_of(await listing(api, status="queued")) == [open_one]
    assert set(ids_of(await listing(api, session_id="a"))) == {done, failed}
    assert ids_of(await listing(api, agent_type="content")) == [done]
    assert ids_of(await listing(api, session_id="a", status="failed")) == [failed]
    assert ids_of(await listing(api, session_id="nobody")) == []
    assert (await listing(api, status="completed"))["meta"]["total_items"] == 1


async def test_a_task_is_found_by_the_beginning_of_its_words(api: Api) -> None:
    rust = await api.submit("Write a Rust function that reverses strings, quickly!")
    await api.submit("Write about gardens.")

    assert ids_of(await listing(api, q="rust")) == [rust]
    assert ids_of(await listing(api, q="REVERS func")) == [rust]
    assert ids_of(await listing(api, q="rust garden")) == []
    assert ids_of(await listing(api, q=".*")) == []
    assert ids_of(await listing(api, q="quickly!")) == [rust]


async def test_a_span_of_time_has_its_beginning_and_not_its_end(api: Api) -> None:
    first = (await api.execute()).json()
    await asyncio.sleep(0.005)
    second = (await api.execute()).json()

    early, late = first["queued_at"], second["queued_at"]
    assert ids_of(await listing(api, created_after=late)) == [second["task_id"]]
    assert ids_of(await listing(api, created_before=late)) == [first["task_id"]]
    assert ids_of(await listing(api, created_after=early, created_before=late)) == [first["task_id"]]


async def test_times_with_another_offset_or_none_are_understood(api: Api) -> None:
    task_id = await api.submit()

    assert ids_of(await listing(api, created_after="2020-01-01T00:00:00+05:30")) == [task_id]
    assert ids_of(await listing(api, created_after="2020-01-01T00:00:00")) == [task_id]
    assert ids_of(await listing(api, created_after="2020-01-01")) == [task_id]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("page", "0"),
        ("page", "-1"),
        ("page", "x"),
        ("page", "501"),
        ("page", "99999999999999999999999"),
        ("page_size", "0"),
        ("page_size", "101"),
        ("page_size", "ten"),
        ("status", "done"),
        ("status", "QUEUED"),
        ("session_id", "a b"),
        ("agent_type", "x" * 65),
        ("created_after", "yesterday"),
        ("created_after", "2026-13-01"),
        ("created_after", "nan"),
        ("q", "x" * 201),
    ],
)
async def test_a_parameter_out_of_bounds_is_refused_by_name(api: Api, name: str, value: str) -> None:
    body = problem_of(await api.get("/v1/tasks", params={name: value}), 422, "VALIDATION_ERROR")

    assert fields_of(body) == [name]


@pytest.mark.parametrize("edge", [FIRST_INSTANT, LAST_INSTANT])
@pytest.mark.parametrize("name", ["created_after", "created_before"])
async def test_a_time_at_the_edge_of_the_calendar_is_no_crash(api: Api, name: str, edge: str) -> None:
    response = await api.get("/v1/tasks", params={name: edge})

    assert response.status_code in {200, 422}, response.text


async def test_a_span_that_ends_before_it_begins_is_refused(api: Api) -> None:
    span = {"created_after": "2026-02-01T00:00:00Z", "created_before": "2026-01-01T00:00:00Z"}

    problem_of(await api.get("/v1/tasks", params=span), 422, "VALIDATION_ERROR")


@pytest.mark.parametrize(
    "cursor",
    ["", "x", "!!!", "WzEsMl0", "eyJhIjoxfQ", "x" * 600, "WyJhIiwiYiJd", "%00", "WzE3MDAwMDAwMDAwMDAsIiRuZSJd"],
    ids=lambda cursor: cursor[:12],
)
async def test_a_cursor_that_is_none_of_ours_is_refused(api: Api, cursor: str) -> None:
    problem_of(await api.get("/v1/tasks", params={"cursor": cursor}), 422, "INVALID_CURSOR")


async def test_page_and_cursor_together_are_refused(api: Api) -> None:
    await submitted(api, 2)
    cursor = (await listing(api, page_size=1))["next_cursor"]

    problem_of(await api.get("/v1/tasks", params={"cursor": cursor, "page": 2}), 422, "VALIDATION_ERROR")


@pytest.mark.parametrize("name", ["agent_type", "q"])
@pytest.mark.parametrize("value", ["\x00", "\ud7ff", "[", "(((", "$ne", "\\", "İ", "a\x00b"], ids=ascii)
async def test_strange_text_in_a_filter_finds_nothing_and_breaks_nothing(api: Api, name: str, value: str) -> None:
    await api.submit("Write about Istanbul.")

    response = await api.get("/v1/tasks", params={name: value})

    assert response.status_code in {200, 422}, response.text


async def test_empty_filters_are_no_filters(api: Api) -> None:
    task_id = await api.submit()

    response = await api.get("/v1/tasks?status=&agent_type=&session_id=&created_after=&created_before=&q=&page=1")

    assert response.status_code == 200
    assert ids_of(response.json()) == [task_id]
