"""What does a task in a worker, put together: router, agents with what they may reach, budgets and evaluation."""

from collections.abc import Sequence
from functools import cache

from app.agents.base import OutputFile
from app.agents.code.verification.verifier import Verifier
from app.agents.context import FittedChat
from app.agents.markdown import code_blocks
from app.agents.peer import PeerAgent
from app.agents.tools.toolbox import Toolboxes
from app.bootstrap.budgets import build_book, build_ledger
from app.bootstrap.circuits import Guarded
from app.bootstrap.core import Core
from app.bootstrap.sessions import build_session_memory
from app.checkpoints.service import Checkpoints
from app.events.publishing import LivePublisher
from app.governance.budgets.spending import BudgetEnforcer
from app.governance.evaluation.evaluator import Evaluator, Parsed
from app.governance.evaluation.models import SubjectFile
from app.llm.languages import language_of_tag
from app.llm.prices import Prices
from app.observability.redaction import Redactor, secrets_of
from app.replay.recordings import Recorder
from app.tasks.execution import Equipment
from app.tasks.handler import TaskHandler
from app.tasks.policy import PolicyEnforcer
from app.tasks.quality import QualityGate


def build_handler(core: Core, guarded: Guarded, equipment: Equipment, publisher: LivePublisher) -> TaskHandler:
    settings = core.settings
    return TaskHandler(
        core.registry,
        build_peer(core),
        chat=FittedChat(guarded.chat, limit=settings.llm_context_tokens),
        equipment=equipment,
        memory=build_session_memory(core),
        retries=core.retries,
        publisher=publisher,
        quality=QualityGate(Evaluator(core.evaluators, parse_code), settings.evaluation_policies, guarded.search),
        budgets=build_enforcer(core),
        clock=core.clock,
        recorder=build_recorder(core),
        new_meter=guarded.new_meter,
    )


def build_recorder(core: Core) -> Recorder:
    settings = core.settings
    masked = Redactor(secrets_of(settings)).masked
    return Recorder(core.artifacts, room=settings.recording_max_bytes, mask=masked, clock=core.clock)


def build_peer(core: Core) -> PeerAgent:
    return PeerAgent(core.registry, minimum_confidence=core.settings.router_min_confidence)


def build_equipment(
    core: Core, guarded: Guarded, checkpoints: Checkpoints, toolboxes: Toolboxes, policy: PolicyEnforcer
) -> Equipment:
    most = core.settings.web_search_max_results
    return Equipment(guarded.search, most, core.effects, checkpoints, core.artifacts, toolboxes, policy)


async def parse_code(files: Sequence[SubjectFile], text: str) -> list[Parsed]:
    """What parsers say of the files; without files, of the fenced blocks of the text that name a language."""
    given = [OutputFile(file.path, file.content, file.language) for file in files] or _blocks_of(text)
    return [
        Parsed(one.path, one.ok if one.parser else None, one.problem.message if one.problem else "")
        for one in await _verifier().verify(given)
    ]


@cache
def _verifier() -> Verifier:
    return Verifier()


def _blocks_of(text: str) -> list[OutputFile]:
    named = ((number, block, language_of_tag(block.tag)) for number, block in enumerate(code_blocks(text), start=1))
    return [OutputFile(f"block-{number}", f"{block.body}\n", language) for number, block, language in named if language]


def build_enforcer(core: Core) -> BudgetEnforcer:
    return BudgetEnforcer(
        build_book(core),
        build_ledger(core),
        price=Prices(core.settings.llm_prices).estimate,
        max_tokens=core.settings.llm_max_tokens,
        clock=core.clock,
    )
