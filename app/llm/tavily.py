"""Tavily, or whatever speaks its protocol at `TAVILY_BASE_URL`."""

import asyncio
from collections.abc import Iterable, Mapping
from datetime import timedelta
from typing import Any
from urllib.parse import urlsplit

import httpx
from pydantic import SecretStr
from tavily import AsyncTavilyClient
from tavily.errors import (
    BadRequestError,
    ForbiddenError,
    InvalidAPIKeyError,
)
from tavily.errors import TimeoutError as TavilyTimeout

from app.clock import utc_now
from app.llm.errors import SearchError, SearchRejected, SearchUnavailable
from app.llm.provider_errors import retry_after
from app.llm.search import NoSearch, SearchResult, WebSearch
from app.llm.tls import trusted_certificates
from app.settings import SearchProvider, Settings

TAVILY = "https://api.tavily.com"
LONGEST_QUERY = 400  # Tavily answers 400 to anything longer
SEARCH_TIMEOUT = timedelta(seconds=30)

# tavily-python 0.8.5 has no common base class, and lets httpx and JSON errors through.
_FAILURES = (
    BadRequestError,
    ForbiddenError,
    InvalidAPIKeyError,
    TavilyTimeout,
    TimeoutError,
    httpx.HTTPError,
    ValueError,
    KeyError,
    TypeError,
    AttributeError,
)


class TavilySearch:
    """Owns its HTTP client; close it with `aclose`."""

    available = True

    def __init__(
        self,
        api_key: SecretStr,
        *,
        base_url: str | None = None,
        timeout: timedelta = SEARCH_TIMEOUT,
        http_client: httpx.AsyncClient | None = None,
    ) -> None:
        # Without a key the client silently turns to Tavily's public keyless mode.
        if not api_key.get_secret_value().strip():
            raise SearchRejected("no search key: set TAVILY_API_KEY or WEB_SEARCH_PROVIDER=none")
        self._http = http_client or httpx.AsyncClient(base_url=base_url or TAVILY, verify=trusted_certificates())
        self._http.event_hooks["response"].append(_heed_rate_limit)
        self._client = AsyncTavilyClient(api_key=api_key.get_secret_value(), client=self._http)
        self._timeout = timeout.total_seconds()

    async def aclose(self) -> None:
        await self._http.aclose()

    async def search(self, query: str, *, max_results: int) -> list[SearchResult]:
        try:
            async with asyncio.timeout(self._timeout):
                answer = await self._client.search(_shortened(query), max_results=max_results, timeout=self._timeout)
            return _results(answer["results"], max_results)
        except _FAILURES as error:
            raise _translate(error) from error


def web_search(settings: Settings, *, http_client: httpx.AsyncClient | None = None) -> WebSearch:
    """The search the settings ask for; without a key there is none."""
    if settings.web_search_provider is SearchProvider.NONE or settings.tavily_api_key is None:
        return NoSearch()
    return TavilySearch(settings.tavily_api_key, base_url=settings.tavily_base_url, http_client=http_client)


def _shortened(query: str) -> str:
    flat = " ".join(query.split())
    return flat if len(flat) <= LONGEST_QUERY else flat[:LONGEST_QUERY].rsplit(" ", 1)[0]


def _results(items: Iterable[Mapping[str, Any]], most: int) -> list[SearchResult]:
    by_url: dict[str, SearchResult] = {}
    for item in items:
        result = _result(item)
        if result is not None:
            by_url.setdefault(result.url, result)
    return list(by_url.values())[:most]


def _result(item: Mapping[str, Any]) -> SearchResult | None:
    url = str(item["url"])
    parts = urlsplit(url)
    # Citations become links on a page; a `javascript:` address must not reach it.
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        return None
    return SearchResult(
        title=str(item.get("title") or parts.hostname),
        url=url,
        snippet=str(item.get("content") or ""),
        source=parts.hostname,
    )


async def _heed_rate_limit(response: httpx.Response) -> None:
    # tavily-python's own error for it has lost the headers.
    if response.status_code == 429:
        raise SearchError(
            "the search provider limits the rate of searches", retry_after=retry_after(response.headers, utc_now())
        )


def _translate(error: Exception) -> SearchError:
    match error:
        case InvalidAPIKeyError():
            return SearchRejected("the search provider refused the key: check TAVILY_API_KEY")
        case ForbiddenError():
            return SearchRejected("the search provider's plan does not allow the search: check the account")
        case BadRequestError():
            return SearchRejected("the search provider refused the query")
        case TavilyTimeout() | TimeoutError() | httpx.TimeoutException():
            return SearchUnavailable("the search provider did not answer in time")
        case httpx.HTTPStatusError():
            return _from_status(error.response)
        case httpx.HTTPError():
            return SearchUnavailable("the search provider cannot be reached; check TAVILY_BASE_URL")
        case _:
            return SearchUnavailable("the search provider sent an answer that cannot be read")


def _from_status(response: httpx.Response) -> SearchError:
    kind = SearchUnavailable if response.status_code >= 500 else SearchError
    wait = retry_after(response.headers, utc_now())
    return kind(f"the search provider answered {response.status_code}", retry_after=wait)
