"""The models and the search behind circuit breakers: agents see the facades and nothing of the circuits."""

from collections.abc import Callable, Sequence

from app.llm.circuit_breaker import CircuitBreaker
from app.llm.circuits import CircuitKey
from app.llm.messages import Asked, Chat, Completion, M, Message, OnToken, Structured
from app.llm.search import SearchResult, WebSearch

SEARCH = "search"


class GuardedChat:
    """Raises `CircuitOpen` for a model that is known to be down, without asking it."""

    def __init__(self, chat: Chat, breaker: CircuitBreaker, key_of: Callable[[Asked], CircuitKey]) -> None:
        self._chat = chat
        self._breaker = breaker
        self._key_of = key_of

    def model_name(self, role: Asked) -> str:
        return self._chat.model_name(role)

    async def complete(
        self,
        role: Asked,
        messages: Sequence[Message],
        *,
        max_tokens: int | None = None,
        on_token: OnToken | None = None,
    ) -> Completion:
        return await self._breaker.call(
            self._key_of(role), lambda: self._chat.complete(role, messages, max_tokens=max_tokens, on_token=on_token)
        )

    async def structured(self, role: Asked, messages: Sequence[Message], schema: type[M]) -> Structured[M]:
        return await self._breaker.call(self._key_of(role), lambda: self._chat.structured(role, messages, schema))


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
