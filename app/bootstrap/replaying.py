"""What `orchestrate replay` needs, without a store: the agents, and models only when somebody is to be asked."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial

from app.agents.metering import Meter
from app.agents.peer import PeerAgent
from app.agents.registry import Registry, build_registry
from app.bootstrap.evaluating import build_evaluator
from app.governance.evaluation.evaluator import Evaluator
from app.llm.chat import ChatModels
from app.llm.prices import Prices
from app.llm.tavily import web_search
from app.llm.usage import ModelRole
from app.replay.models import Recording
from app.replay.replaying import Change, Live, Replay, Replayed
from app.settings import Settings


@dataclass(frozen=True, slots=True)
class Replayer:
    """Runs the agents of any number of tasks and steps again, one after the other."""

    registry: Registry
    peer: PeerAgent
    evaluator: Evaluator
    live: Live | None

    async def run(self, recordings: Sequence[Recording], agent: str | None = None) -> list[Replayed]:
        """Raises `NothingRecorded`, `Invalid` for an input or `AgentNotFound` for a name that does not fit."""
        replay = Replay(recordings, self.registry, self.peer, self.evaluator)
        return await replay.run(Change(agent, self.live))


@asynccontextmanager
async def open_replayer(
    settings: Settings, *, is_live: bool = False, live_roles: frozenset[ModelRole] = frozenset()
) -> AsyncIterator[Replayer]:
    """The models of ``live_roles`` are asked always, with ``is_live`` any that must be."""
    registry = build_registry(settings)
    peer = PeerAgent(registry, minimum_confidence=settings.router_min_confidence)
    replayer = partial(Replayer, registry, peer, build_evaluator(settings))
    if not is_live and not live_roles:
        yield replayer(None)
        return
    async with _asking(settings, live_roles, answers_the_rest=is_live) as live:
        yield replayer(live)


@asynccontextmanager
async def _asking(settings: Settings, roles: frozenset[ModelRole], *, answers_the_rest: bool) -> AsyncIterator[Live]:
    chat, search = ChatModels.from_settings(settings), web_search(settings)
    try:
        yield Live(chat, search, partial(Meter, chat.chains, Prices(settings.llm_prices)), roles, answers_the_rest)
    finally:
        await chat.aclose()
        await search.aclose()
