"""What `orchestrate run` needs, without a store: agents with their models and tools, as a worker has them."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

from app.agents.context import FittedChat
from app.agents.metering import Meter
from app.agents.registry import build_registry
from app.bootstrap.evaluating import build_evaluator
from app.bootstrap.toolboxes import build_toolboxes
from app.llm.chat import ChatModels
from app.llm.prices import Prices
from app.llm.tavily import web_search
from app.observability.redaction import Redactor, secrets_of
from app.settings import Settings
from app.workflows.local.agents import Equipment


@asynccontextmanager
async def equipped(settings: Settings) -> AsyncIterator[Equipment]:
    registry = build_registry(settings)
    models, search = ChatModels.from_settings(settings), web_search(settings)
    toolboxes, prices = build_toolboxes(registry, settings.mcp_servers), Prices(settings.llm_prices)
    try:
        yield Equipment(
            registry,
            FittedChat(models, limit=settings.llm_context_tokens),
            search,
            settings.web_search_max_results,
            toolboxes,
            build_evaluator(settings),
            partial(Meter, models.chains, prices),
            prices.estimate,
            settings.llm_max_tokens,
            settings.router_min_confidence,
            Redactor(secrets_of(settings)),
        )
    finally:
        await toolboxes.close()
        await models.aclose()
        await search.aclose()
