"""The models and the search behind circuit breakers: agents see the facades and nothing of the circuits."""

from collections.abc import Callable

from app.llm.circuit_breaker import CircuitBreaker
from app.llm.circuits import CircuitKey
from app.llm.facade import ChatFacade, Question
from app.llm.messages import A, Asked, Chat
from app.llm.search import SearchResult, WebSearch

SEARCH = "search"


class GuardedChat(ChatFacade):
    """Raises `CircuitOpen` for a model that is known to be down, without asking it."""

    def __init__(self, chat: Chat, breaker: CircuitBreaker, key_of: Callable[[Asked], CircuitKey]) -> None:
        super().__init__(chat)
        self._breaker = breaker
        self._key_of = key_of

    async def _ask(self, question: Question[A]) -> A:
        return await self._breaker.call(self._key_of(question.role), lambda: question.put_to(self._chat))


class GuardedSearch:
    """Raises `CircuitOpen` while the search provider is known to be down."""

    def __init__(self, search: WebSearch, breaker: CircuitBreaker, *, provider: str) -> None:
        self._search = search
        self._breaker = breaker
        self._key = CircuitKey(provider, SEARCH)

    @property
    def available(self) -> bool:
        return self._search.available

    async def search(self, query: str, *, max_results: int) -> list[SearchResult]:
        return await self._breaker.call(self._key, lambda: self._search.search(query, max_results=max_results))

    async def aclose(self) -> None:
        await self._search.aclose()
