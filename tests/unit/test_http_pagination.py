import base64
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from hypothesis import given
from hypothesis import strategies as st

from app.http.pagination import (
    MOST_COUNTED,
    Cursor,
    InvalidCursor,
    Page,
    PageParams,
    decode_cursor,
    encode_cursor,
    page_meta,
)
from app.http.parameters import PageQuery
from app.http.problems import install_problem_handlers

NOON = datetime(2026, 5, 1, 12, 0, 0, 123000, tzinfo=UTC)
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
CURSOR = Cursor(NOON, "0b0f4a7e-28a5-4a30-b2d6-1a1e0b3d0d7a")


async def ask(query: str) -> httpx.Response:
    app = FastAPI()

    @app.get("/things")
    async def things(page: PageQuery) -> dict[str, Any]:
        return {"skip": page.skip, "size": page.page_size, "after": page.after.id if page.after else None}

    install_problem_handlers(app)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test") as client:
        return await client.get(f"/things?{query}")


def forged(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).rstrip(b"=").decode()


async def test_without_a_wish_the_first_twenty_come() -> None:
    assert (await ask("")).json() == {"skip": 0, "size": 20, "after": None}


async def test_a_page_says_how_many_to_skip() -> None:
    assert (await ask("page=3&page_size=50")).json() == {"skip": 100, "size": 50, "after": None}


async def test_a_cursor_says_where_to_go_on() -> None:
    assert (await ask(f"cursor={encode_cursor(CURSOR)}&page_size=5")).json() == {
        "skip": 0,
        "size": 5,
        "after": CURSOR.id,
    }


@pytest.mark.parametrize(
    ("query", "code", "field"),
    [
        ("page=0", "VALIDATION_ERROR", "page"),
        ("page=-1", "VALIDATION_ERROR", "page"),
        ("page=x", "VALIDATION_ERROR", "page"),
        ("page=1.5", "VALIDATION_ERROR", "page"),
        ("page_size=0", "VALIDATION_ERROR", "page_size"),
        ("page_size=101", "VALIDATION_ERROR", "page_size"),
        ("page=101&page_size=100", "VALIDATION_ERROR", "page"),
        ("page=" + "9" * 100, "VALIDATION_ERROR", "page"),
        (f"page=1&cursor={encode_cursor(CURSOR)}", "VALIDATION_ERROR", "cursor"),
        ("cursor=", "INVALID_CURSOR", "cursor"),
        ("cursor=rubbish", "INVALID_CURSOR", "cursor"),
    ],
)
async def test_a_wrong_wish_is_refused_and_named(query: str, code: str, field: str) -> None:
    answer = await ask(query)

    assert answer.status_code == 422
    assert answer.json()["error"]["code"] == code
    assert answer.json()["error"]["details"][0]["field"] == field


async def test_too_deep_a_page_is_told_to_use_the_cursor() -> None:
    assert "next_cursor" in (await ask("page=1000&page_size=20")).json()["detail"]
    assert (await ask("page=100&page_size=100")).status_code == 200


@given(
    st.integers(0, 250_000_000_000).map(
        lambda seconds: EPOCH + timedelta(seconds=seconds, microseconds=seconds % 10**6)
    ),
    st.uuids().map(str),
)
def test_a_cursor_comes_back_as_it_went_to_the_millisecond(moment: datetime, identifier: str) -> None:
    cut = moment.replace(microsecond=moment.microsecond // 1000 * 1000)

    assert decode_cursor(encode_cursor(Cursor(moment, identifier))) == Cursor(cut, identifier)


@pytest.mark.parametrize(
    "text",
    [
        "ü",
        "=" * 4,
        encode_cursor(CURSOR) + "=",
        encode_cursor(CURSOR) + "A",
        "A" * 600,
        forged(b"{}"),
        forged(b"[]"),
        forged(b'[1, "spaced"]'),
        forged(b'["1","a"]'),
        forged(b'[1,{"$gt":""}]'),
        forged(b'[true,"a"]'),
        forged(b'[-1,"a"]'),
        forged(b'[1e9,"a"]'),
        forged(b'[99999999999999999,"a"]'),
        forged(b'[1,""]'),
        forged(b'[1,"a b"]'),
        forged(b'[1,"\\ud800"]'),
        forged(json.dumps([1, "a" * 129], separators=(",", ":")).encode()),
        forged(b"[" * 300),
    ],
)
def test_nothing_but_our_own_cursors_is_accepted(text: str) -> None:
    with pytest.raises(InvalidCursor):
        decode_cursor(text)


@pytest.mark.parametrize(
    ("page", "total", "pages", "has_next", "has_previous"),
    [
        (1, 0, 0, False, False),
        (1, 10, 1, False, False),
        (1, 11, 2, True, False),
        (2, 11, 2, False, True),
        (9, 11, 2, False, True),
    ],
)
def test_the_meta_tells_where_the_page_lies(
    page: int, total: int, pages: int, has_next: bool, has_previous: bool
) -> None:
    meta = page_meta(PageParams(page=page, page_size=10), total_items=total)

    assert meta.model_dump() == {
        "page": page,
        "page_size": 10,
        "total_items": total,
        "total_pages": pages,
        "has_next": has_next,
        "has_previous": has_previous,
        "total_is_capped": False,
    }


def test_behind_a_cursor_there_is_no_page_number() -> None:
    meta = page_meta(PageParams(page_size=10, after=CURSOR), total_items=100, has_next=True)

    assert (meta.page, meta.has_next, meta.has_previous) == (None, True, True)


def test_a_page_is_cut_where_it_ends_and_its_cursor_points_at_its_last_entry() -> None:
    params = PageParams(page_size=2)

    page = Page.of(["a", "b", "c"], params, total=3)

    assert (page.items, page.has_next) == (["a", "b"], True)
    assert page.next_cursor(lambda last: Cursor(CURSOR.created_at, last)) == encode_cursor(
        Cursor(CURSOR.created_at, "b")
    )


@pytest.mark.parametrize("found", [[], ["a"], ["a", "b"]])
def test_the_last_page_has_no_cursor(found: list[str]) -> None:
    page = Page.of(found, PageParams(page_size=2), total=len(found))

    assert page.items == found
    assert page.next_cursor(lambda last: Cursor(CURSOR.created_at, last)) is None


@pytest.mark.parametrize(("total", "is_capped"), [(MOST_COUNTED - 1, False), (MOST_COUNTED, True)])
def test_a_total_that_was_not_counted_to_its_end_says_so(total: int, is_capped: bool) -> None:
    assert Page(["a"], has_next=True, total=total).meta(PageParams()).total_is_capped is is_capped
