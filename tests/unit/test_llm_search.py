from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import httpx
import pytest
from pydantic import SecretStr

from app.llm.errors import SearchError, SearchRejected, SearchUnavailable
from app.llm.search import NoSearch
from app.llm.simulator.application import Simulator, build_application
from app.llm.tavily import LONGEST_QUERY, TavilySearch, web_search
from app.settings import load_settings

KEY = SecretStr("tvly-secret")


@asynccontextmanager
async def searching(transport: httpx.AsyncBaseTransport, *, timeout: float = 5.0) -> AsyncIterator[TavilySearch]:
    http = httpx.AsyncClient(transport=transport, base_url="http://search")
    search = TavilySearch(KEY, timeout=timedelta(seconds=timeout), http_client=http)
    try:
        yield search
    finally:
        await search.aclose()


def simulated() -> httpx.ASGITransport:
    return httpx.ASGITransport(build_application(Simulator()))


def answering(results: list[Mapping[str, Any]]) -> httpx.MockTransport:
    return httpx.MockTransport(lambda _request: httpx.Response(200, json={"results": results}))


async def test_a_search_finds_pages_with_their_host() -> None:
    async with searching(simulated()) as search:
        results = await search.search("renewable energy", max_results=2)

    assert results[0].title == "Renewable energy"
    assert results[0].source == "docs.example.com"
    assert len(results) <= 2


async def test_repeated_pages_and_addresses_that_are_not_of_the_web_are_left_out() -> None:
    pages: list[Mapping[str, Any]] = [
        {"title": "A", "url": "https://a.org/1", "content": "x"},
        {"title": "A again", "url": "https://a.org/1", "content": "x"},
        {"title": "Bad", "url": "javascript:alert(1)", "content": "x"},
        {"url": "https://b.org/", "content": None},
    ]

    async with searching(answering(pages)) as search:
        results = await search.search("x", max_results=5)

    assert [(result.title, result.snippet) for result in results] == [("A", "x"), ("b.org", "")]


async def test_a_long_query_is_cut_to_what_the_provider_takes() -> None:
    seen: list[bytes] = []

    def answer(request: httpx.Request) -> httpx.Response:
        seen.append(request.content)
        return httpx.Response(200, json={"results": []})

    async with searching(httpx.MockTransport(answer)) as search:
        await search.search("word " * 500, max_results=1)

    assert len(seen[0]) < LONGEST_QUERY + 100


@pytest.mark.parametrize(
    ("fault", "error", "retryable"),
    [
        ("error=401", SearchRejected, False),
        ("error=403", SearchRejected, False),
        ("error=432", SearchRejected, False),
        ("error=400", SearchRejected, False),
        ("error=429", SearchError, True),
        ("error=500", SearchUnavailable, True),
        ("malformed", SearchUnavailable, True),
    ],
)
async def test_each_failure_of_the_search_has_its_error(fault: str, error: type[SearchError], retryable: bool) -> None:
    async with searching(simulated()) as search:
        with pytest.raises(SearchError) as caught:
            await search.search(f"secret plans [[sim {fault}]]", max_results=1)

    assert type(caught.value) is error
    assert (caught.value.code, caught.value.retryable) == ("SEARCH_ERROR", retryable)
    assert "secret" not in str(caught.value)


async def test_the_providers_wait_reaches_the_kernel() -> None:
    async with searching(simulated()) as search:
        with pytest.raises(SearchError) as limited:
            await search.search("x [[sim error=429 retry_after=7]]", max_results=1)
        with pytest.raises(SearchUnavailable) as down:
            await search.search("x [[sim error=503 retry_after=9]]", max_results=1)

    assert (limited.value.retry_after, down.value.retry_after) == (timedelta(seconds=7), timedelta(seconds=9))


async def test_a_search_that_hangs_times_out() -> None:
    async with searching(simulated(), timeout=0.1) as search:
        with pytest.raises(SearchError, match="in time"):
            await search.search("x [[sim hang]]", max_results=1)


async def test_a_search_that_cannot_be_reached_is_worth_a_retry() -> None:
    def refuse(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("refused", request=request)

    async with searching(httpx.MockTransport(refuse)) as search:
        with pytest.raises(SearchError, match="TAVILY_BASE_URL") as caught:
            await search.search("x", max_results=1)

    assert caught.value.retryable


def test_a_blank_key_is_refused_before_the_keyless_mode_can_begin() -> None:
    with pytest.raises(SearchRejected, match="TAVILY_API_KEY"):
        TavilySearch(SecretStr(" "))


async def test_the_settings_choose_the_search() -> None:
    off = load_settings(_env_file=None, web_search_provider="none", tavily_api_key="k")
    no_key = load_settings(_env_file=None, tavily_api_key=None)
    with_key = load_settings(_env_file=None, tavily_api_key="k")

    tavily = web_search(with_key)
    await tavily.aclose()

    assert isinstance(web_search(off), NoSearch)
    assert isinstance(web_search(no_key), NoSearch)
    assert tavily.available
    assert await NoSearch().search("x", max_results=3) == []
