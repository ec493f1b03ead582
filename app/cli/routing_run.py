"""Asks the configured model where labelled tasks go. Heavy: it loads LangGraph and the providers' SDKs."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta

from app.agents.accuracy import NO_ANSWER, Accuracy, Judged, RoutingCase
from app.agents.base import AgentRequest, AgentTools
from app.agents.context import FittedChat
from app.agents.metering import Meter
from app.agents.peer import PeerAgent
from app.agents.registry import Registry
from app.agents.routing import UNKNOWN, Route
from app.errors import ExecutionError
from app.llm.chat import ChatModels
from app.llm.errors import LlmAuth
from app.llm.prices import Prices
from app.llm.search import NoSearch
from app.settings import Settings

ATTEMPTS = 3
PAUSE = timedelta(seconds=1)
LONGEST_PAUSE = timedelta(seconds=30)


@dataclass(frozen=True, slots=True)
class Measured:
    accuracy: Accuracy
    tokens: int
    usd: float


async def measure(
    cases: Sequence[RoutingCase],
    registry: Registry,
    settings: Settings,
    *,
    concurrency: int,
    on_progress: Callable[[], None],
) -> Measured:
    """Route each case as a worker would, so many at a time. A case whose model does not answer is a wrong one.

    Raises `LlmAuth` when the models cannot be asked at all.
    """
    chat = ChatModels.from_settings(settings)
    meter = Meter(chat.chains, Prices(settings.llm_prices))
    tools = meter.tools(FittedChat(chat, limit=settings.llm_context_tokens), NoSearch())
    peer = PeerAgent(registry, minimum_confidence=settings.router_min_confidence)
    slots = asyncio.Semaphore(concurrency)

    async def judged(case: RoutingCase) -> Judged:
        async with slots:
            found = await _judge(peer, tools, case)
        on_progress()
        return found

    try:
        return Measured(Accuracy(await asyncio.gather(*map(judged, cases))), meter.usage.total, meter.usd)
    finally:
        await chat.aclose()


async def _judge(peer: PeerAgent, tools: AgentTools, case: RoutingCase, *, attempts: int = ATTEMPTS) -> Judged:
    request = AgentRequest("routing-test", "routing-test", "routing-test", case.task, inputs=case.inputs)
    try:
        found = await peer.consider(request, tools)
    except LlmAuth:
        # No case would fare better.
        raise
    except ExecutionError as error:
        if attempts <= 1 or not error.retryable:
            return Judged(case, NO_ANSWER, 0.0, error.code, error.message)
        await asyncio.sleep(min(error.retry_after or PAUSE, LONGEST_PAUSE).total_seconds())
        return await _judge(peer, tools, case, attempts=attempts - 1)
    predicted = found.agent_name if isinstance(found, Route) else UNKNOWN
    return Judged(case, predicted, found.confidence, found.grounds.rule.value, found.reasoning)
