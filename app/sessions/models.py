"""A session: the tasks of one conversation, and what is remembered of them."""

from dataclasses import dataclass
from datetime import datetime

from app.errors import NotFound

COLLECTION = "sessions"
# The field of a task that says that its client named the session; one that we made has nothing before the task.
CONTINUES_SESSION = "continues_session"


class SessionNotFound(NotFound):
    code = "SESSION_NOT_FOUND"
    title = "Session not found"


@dataclass(frozen=True, slots=True, order=True)
class Position:
    """A task's place in its session."""

    asked_at: datetime
    task_id: str


@dataclass(frozen=True, slots=True)
class Turn:
    """What was asked and what was answered: a task that was completed."""

    position: Position
    question: str
    answer: str


@dataclass(frozen=True, slots=True)
class Memory:
    """What the turns up to and with ``covers`` came to."""

    summary: str
    facts: tuple[str, ...]
    covers: Position

    @property
    def text(self) -> str:
        return "\n".join([self.summary, *(f"- {fact}" for fact in self.facts)])


@dataclass(frozen=True, slots=True)
class Session:
    """Tasks accepted before ``begins_at`` are no part of it: it had expired or was deleted since.

    ``version`` counts the changes of the memory. Messages are kept at least until ``messages_kept_until``.
    """

    id: str
    tenant_id: str
    begins_at: datetime
    last_activity_at: datetime
    expires_at: datetime
    messages_kept_until: datetime
    version: int
    memory: Memory | None


@dataclass(frozen=True, slots=True)
class Totals:
    """What the tasks of a session come to, counted up to a bound."""

    tasks: int
    tokens: int
    usd: float
    created_at: datetime
    last_activity_at: datetime


@dataclass(frozen=True, slots=True)
class Overview:
    session_id: str
    totals: Totals
    messages: int
    expires_at: datetime
    has_summary: bool
