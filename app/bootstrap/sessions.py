"""The sessions: what the API shows of them, and what a worker remembers."""

from datetime import timedelta

from app.bootstrap.core import Core
from app.sessions.memory import SessionMemory
from app.sessions.models import COLLECTION
from app.sessions.repository import SessionRepository
from app.sessions.service import SessionService
from app.sessions.tasks import SessionTasks
from app.sessions.window import Limits


def build_session_service(core: Core) -> SessionService:
    return SessionService(_build_repository(core), SessionTasks(core.tasks), core.messages)


def build_session_memory(core: Core) -> SessionMemory:
    settings = core.settings
    return SessionMemory(
        _build_repository(core),
        SessionTasks(core.tasks),
        core.messages,
        limits=Limits(settings.session_context_tokens, settings.session_summary_tokens),
        # Of the models that are asked one after the other, seldom more than one takes its whole time.
        patience=timedelta(seconds=2 * settings.llm_timeout_sec),
        clock=core.clock,
    )


def _build_repository(core: Core) -> SessionRepository:
    lifetime = timedelta(days=core.settings.session_ttl_days)
    return SessionRepository(core.documents(COLLECTION), lifetime=lifetime, clock=core.clock)
