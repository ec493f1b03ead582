"""The worker's models and search, behind their circuits; the models also keep to what their providers allow."""

from collections.abc import Callable, Collection
from dataclasses import dataclass
from datetime import timedelta
from functools import partial

from app.agents.metering import Meter
from app.bootstrap.core import Core
from app.llm.allowances import SharedWindows
from app.llm.chat import ChatModels
from app.llm.circuit_breaker import CircuitBreaker
from app.llm.circuits import CircuitKey, CircuitPolicy, provider_of
from app.llm.guarded import SEARCH, GuardedChat, GuardedSearch
from app.llm.messages import Chat
from app.llm.pacing import PacedChat, Pacer
from app.llm.prices import Prices
from app.llm.providers import models_in
from app.llm.search import WebSearch
from app.llm.tavily import SEARCH_TIMEOUT, TAVILY
from app.settings import Settings

# A probe's lease is this much longer than the longest call.
MARGIN = timedelta(seconds=5)


@dataclass(frozen=True, slots=True)
class Guarded:
    """What agents may ask; ``breaker`` is None when nothing is guarded."""

    chat: Chat
    search: WebSearch
    pacer: Pacer
    new_meter: Callable[[], Meter]
    breaker: CircuitBreaker | None = None

    async def refresh(self) -> None:
        """Learn what other processes found although nobody asks at this moment."""
        if self.breaker is not None:
            await self.breaker.refresh()

    async def close(self) -> None:
        await self.pacer.close()
        if self.breaker is not None:
            await self.breaker.close()


def guard(core: Core, chat: ChatModels, search: WebSearch) -> Guarded:
    settings, pacer = core.settings, _pacer(core.settings)
    paced = PacedChat(chat, pacer, chat.model_of, max_tokens=settings.llm_max_tokens)
    new_meter = partial(Meter, chat.chains, Prices(settings.llm_prices))
    if not settings.circuit_failures:
        return Guarded(paced, search, pacer, new_meter)
    searching = provider_of(settings.tavily_base_url or TAVILY)
    keys = {chat.circuit_of(model) for model in models_in(chat.chains)}
    if search.available:
        keys.add(CircuitKey(searching, SEARCH))

    def show(open_now: Collection[CircuitKey]) -> None:
        # Those that are configured, whatever others may be in the store: the labels stay a closed set.
        for key in keys:
            core.metrics.circuit_open.labels(key.provider, key.model).set(key in open_now)

    show(())
    breaker = CircuitBreaker(core.circuits, _policy(settings), clock=core.clock, on_change=show)
    return Guarded(
        GuardedChat(paced, breaker, chat.circuit_of),
        GuardedSearch(search, breaker, provider=searching) if search.available else search,
        pacer,
        new_meter,
        breaker,
    )


def _pacer(settings: Settings) -> Pacer:
    shared = SharedWindows(settings.redis_url.get_secret_value()) if settings.redis_url else None
    return Pacer(settings.llm_rate_limits, shared=shared)


def _policy(settings: Settings) -> CircuitPolicy:
    return CircuitPolicy(
        failures=settings.circuit_failures,
        initial=timedelta(seconds=settings.circuit_open_sec),
        maximum=timedelta(seconds=settings.circuit_open_max_sec),
        probe_lease=max(timedelta(seconds=settings.llm_timeout_sec), SEARCH_TIMEOUT) + MARGIN,
    )
