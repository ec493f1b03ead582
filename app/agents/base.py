"""What every agent is given, and what it gives back."""

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from app.effects.tool import Effects, NoEffects
from app.llm.messages import Chat, Message, correction
from app.llm.search import WebSearch

if TYPE_CHECKING:
    # It loads LangGraph and MongoDB's driver, which a process that only lists the agents does without.
    from app.checkpoints.service import AgentCheckpoints


@dataclass(frozen=True, slots=True)
class Citation:
    source: str
    title: str
    url: str


@dataclass(frozen=True, slots=True)
class AgentOutput:
    """`raw_output` is the whole answer, `summary` plain text of about a sentence."""

    summary: str
    raw_output: str
    citations: tuple[Citation, ...] = ()
    code_language: str | None = None
    tools_used: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class AgentRequest:
    """`feedback` says why this agent's last answer to the task was refused, None when it was not."""

    task_id: str
    session_id: str
    tenant_id: str
    text: str
    feedback: str | None = None

    @property
    def corrections(self) -> tuple[Message, ...]:
        """Goes last into the prompt whose answer is checked; empty unless one was refused."""
        return () if self.feedback is None else (correction(self.feedback),)


@dataclass(frozen=True, slots=True)
class AgentTools:
    """The only way out of an agent; `app.agents.metering` hands out tools that count what is used.

    Without `checkpoints` nothing of a run is saved before its end.
    """

    chat: Chat
    search: WebSearch
    max_sources: int = 5
    effects: Effects = field(default_factory=NoEffects)
    checkpoints: "AgentCheckpoints | None" = None


class BaseAgent(ABC):
    """Built without arguments, once per process, and shared by concurrent runs: keep no state of a run in it."""

    @abstractmethod
    async def run(self, request: AgentRequest, tools: AgentTools) -> AgentOutput:
        """Raises `ExecutionError`; may be cancelled at any await."""
