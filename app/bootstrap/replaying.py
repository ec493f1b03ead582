"""What `orchestrate replay` needs, without a store: the agents, and models only when somebody is to be asked."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from functools import partial

from app.agents.metering import Meter
from app.agents.peer import PeerAgent
from app.agents.registry import build_registry
from app.bootstrap.evaluating import build_evaluator
from app.llm.chat import ChatModels
from app.llm.prices import Prices
from app.llm.tavily import web_search
from app.llm.usage import ModelRole
from app.replay.models import Recording
from app.replay.replaying import Change, Live, Replay, Replayed
from app.settings import Settings


async def replay_recordings(
    settings: Settings,
    recordings: Sequence[Recording],
    *,
    agent: str | None = None,
    is_live: bool = False,
    live_roles: frozenset[ModelRole] = frozenset(),
) -> list[Replayed]:
    """Run a task's agents again; the models of ``live_roles`` are asked always, with ``is_live`` any that must be.

    Raises `NothingRecorded`, `Invalid` for an input or `AgentNotFound` for a name that does not fit.
    """
    registry = build_registry(settings)
    peer = PeerAgent(registry, minimum_confidence=settings.router_min_confidence)
    replay = Replay(recordings, registry, peer, build_evaluator(settings))
    if not is_live and not live_roles:
        return await replay.run(Change(agent))
    async with _asking(settings, live_roles, answers_the_rest=is_live) as live:
        return await replay.run(Change(agent, live))


@asynccontextmanager
async def _asking(settings: Settings, roles: frozenset[ModelRole], *, answers_the_rest: bool) -> AsyncIterator[Live]:
    chat, search = ChatModels.from_settings(settings), web_search(settings)
    try:
        yield Live(chat, search, partial(Meter, chat.chains, Prices(settings.llm_prices)), roles, answers_the_rest)
    finally:
        await chat.aclose()
        await search.aclose()
