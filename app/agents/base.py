"""What every agent is given, and what it gives back."""

from abc import ABC, abstractmethod
from dataclasses import dataclass

from app.llm.messages import Chat
from app.llm.search import WebSearch


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
    task_id: str
    session_id: str
    tenant_id: str
    text: str


@dataclass(frozen=True, slots=True)
class AgentTools:
    """The only way out of an agent; `app.agents.metering` hands out tools that count what is used."""

    chat: Chat
    search: WebSearch
    max_sources: int = 5


class BaseAgent(ABC):
    """Built without arguments, once per process, and shared by concurrent runs: keep no state of a run in it."""

    @abstractmethod
    async def run(self, request: AgentRequest, tools: AgentTools) -> AgentOutput:
        """Raises `ExecutionError`; may be cancelled at any await."""
