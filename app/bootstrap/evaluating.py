"""What `orchestrate evaluate` needs, without a store: the evaluators of packages, parsers and the judge's model."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from app.agents.context import FittedChat
from app.agents.metering import Meter
from app.bootstrap.handling import parse_code
from app.governance.evaluation.evaluator import Evaluator
from app.governance.evaluation.plugins import load_evaluators
from app.llm.chat import ChatModels
from app.llm.messages import Chat
from app.llm.prices import Prices
from app.llm.search import NoSearch
from app.settings import Settings


@dataclass(frozen=True, slots=True)
class Evaluating:
    """``meter`` counts what goes through ``chat``."""

    evaluator: Evaluator
    chat: Chat
    meter: Meter


def build_evaluator(settings: Settings) -> Evaluator:
    return Evaluator(load_evaluators(settings.agent_plugins), parse_code)


@asynccontextmanager
async def evaluating(settings: Settings) -> AsyncIterator[Evaluating]:
    models = ChatModels.from_settings(settings)
    meter = Meter(models.chains, Prices(settings.llm_prices))
    tools = meter.tools(FittedChat(models, limit=settings.llm_context_tokens), NoSearch())
    try:
        yield Evaluating(build_evaluator(settings), tools.chat, meter)
    finally:
        await models.aclose()
