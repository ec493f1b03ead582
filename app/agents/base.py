"""What every agent is given, and what it gives back."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from app.agents.tools.models import NoTools, Toolbox
from app.effects.tool import Effects, NoEffects
from app.errors import Invalid
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
class OutputFile:
    """A file that an answer holds; `path` is relative, with `/`, and never leaves its folder."""

    path: str
    content: str
    language: str | None = None


@dataclass(frozen=True, slots=True)
class OutputArtifact:
    """A blob that was kept in the artifact store; `size` is in bytes."""

    name: str
    media_type: str
    sha256: str
    size: int


@dataclass(frozen=True, slots=True)
class AgentOutput:
    """`raw_output` is the whole answer, `summary` plain text of about a sentence.

    `data` is the answer as plain JSON data in the shape of the agent's output model, when it has one; `notes` say what
    a reader must know of how the answer came about, each a sentence.
    """

    summary: str
    raw_output: str
    citations: tuple[Citation, ...] = ()
    code_language: str | None = None
    tools_used: tuple[str, ...] = ()
    data: Mapping[str, Any] | None = None
    files: tuple[OutputFile, ...] = ()
    artifacts: tuple[OutputArtifact, ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class AgentRequest:
    """`feedback` says why this agent's last answer to the task was refused, None when it was not.

    `inputs` is the task's typed input as plain JSON data, valid for the agent's input model when it has one; `history`
    is what was said before in the session, oldest first, cut to what a prompt may hold.
    """

    task_id: str
    session_id: str
    tenant_id: str
    text: str
    feedback: str | None = None
    inputs: Mapping[str, Any] = field(default_factory=dict)
    history: tuple[Message, ...] = ()

    @property
    def corrections(self) -> tuple[Message, ...]:
        """Goes last into the prompt whose answer is checked; empty unless one was refused."""
        return () if self.feedback is None else (correction(self.feedback),)


class Artifacts(Protocol):
    """Keeps what an agent makes besides its answer."""

    async def put(self, name: str, data: bytes, media_type: str) -> OutputArtifact:
        """Raises what the artifact store raises; putting equal data twice is harmless."""
        ...


class NoArtifacts:
    """Where nothing can be kept."""

    async def put(self, name: str, data: bytes, media_type: str) -> OutputArtifact:  # noqa: ARG002
        raise Invalid(f"artifact {name!r}: this run keeps no artifacts")


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
    artifacts: Artifacts = field(default_factory=NoArtifacts)
    toolbox: Toolbox = field(default_factory=NoTools)


class BaseAgent(ABC):
    """Built without arguments, once per process, and shared by concurrent runs: keep no state of a run in it."""

    @abstractmethod
    async def run(self, request: AgentRequest, tools: AgentTools) -> AgentOutput:
        """Raises `ExecutionError`; may be cancelled at any await."""
