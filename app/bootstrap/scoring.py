"""How work is scored here: the same in the API and in the workers."""

from app.agents.registry import Registry
from app.bootstrap.core import Core
from app.bootstrap.workflows import build_definition_repository, build_reader
from app.governance.scoring.scorer import Scorer
from app.llm.prices import Prices
from app.llm.providers import chains_of
from app.settings import Settings
from app.workflows.executions.plans import Plans
from app.workflows.scoring.service import ScoringService


def build_scorer(settings: Settings, registry: Registry) -> Scorer:
    return Scorer(registry, settings.mcp_servers, chains_of(settings), Prices(settings.llm_prices).estimate)


def build_scoring(core: Core) -> ScoringService:
    scorer = build_scorer(core.settings, core.registry)
    return ScoringService(scorer, build_definition_repository(core), Plans(build_reader(core)), core.registry)
