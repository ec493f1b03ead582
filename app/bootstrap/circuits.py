"""The worker's model and search, each behind its circuits."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import timedelta

from app.bootstrap.core import Core
from app.llm.chat import ChatModels
from app.llm.circuit_breaker import CircuitBreaker
from app.llm.circuits import CircuitKey, CircuitPolicy, provider_of
from app.llm.guarded import SEARCH, GuardedChat, GuardedSearch
from app.llm.messages import Chat
from app.llm.search import WebSearch
from app.llm.tavily import SEARCH_TIMEOUT, TAVILY
from app.llm.usage import ModelRole
from app.settings import Settings

# A probe's lease is this much longer than the longest call.
MARGIN = timedelta(seconds=5)


@dataclass(frozen=True, slots=True)
class Guarded:
    """What agents may ask; ``breaker`` is None when nothing is guarded."""

    chat: Chat
    search: WebSearch
    breaker: CircuitBreaker | None = None

    async def refresh(self) -> None:
        """Learn what other processes found although nobody asks at this moment."""
        if self.breaker is not None:
            await self.breaker.refresh()

    async def close(self) -> None:
        if self.breaker is not None:
            await self.breaker.close()


def guard(core: Core, chat: ChatModels, search: WebSearch) -> Guarded:
    settings = core.settings
    if not settings.circuit_failures:
        return Guarded(chat, search)
    searching = provider_of(settings.tavily_base_url or TAVILY)
    keys = {CircuitKey(chat.provider, chat.model_name(role)) for role in ModelRole}
    if search.available:
        keys.add(CircuitKey(searching, SEARCH))

    def show(open_now: Collection[CircuitKey]) -> None:
        # Those that are configured, whatever others may be in the store: the labels stay a closed set.
        for key in keys:
            core.metrics.circuit_open.labels(key.provider, key.model).set(key in open_now)

    show(())
    breaker = CircuitBreaker(core.circuits, _policy(settings), clock=core.clock, on_change=show)
    return Guarded(
        GuardedChat(chat, breaker, provider=chat.provider),
        GuardedSearch(search, breaker, provider=searching) if search.available else search,
        breaker,
    )


def _policy(settings: Settings) -> CircuitPolicy:
    return CircuitPolicy(
        failures=settings.circuit_failures,
        initial=timedelta(seconds=settings.circuit_open_sec),
        maximum=timedelta(seconds=settings.circuit_open_max_sec),
        probe_lease=max(timedelta(seconds=settings.llm_timeout_sec), SEARCH_TIMEOUT) + MARGIN,
    )
