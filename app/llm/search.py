"""Web search as the agents see it. Light: the provider's client lives in `app.llm.tavily`."""

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class SearchResult:
    """`source` is the host that published the page."""

    title: str
    url: str
    snippet: str
    source: str


class WebSearch(Protocol):
    @property
    def available(self) -> bool:
        """False when the deployment has no search; agents then say that they wrote without sources."""
        ...

    async def search(self, query: str, *, max_results: int) -> list[SearchResult]:
        """Best first, never more than asked for, web addresses only. Raises `SearchError`."""
        ...

    async def aclose(self) -> None: ...


class NoSearch:
    available = False

    async def search(self, query: str, *, max_results: int) -> list[SearchResult]:  # noqa: ARG002
        return []

    async def aclose(self) -> None:
        return None
