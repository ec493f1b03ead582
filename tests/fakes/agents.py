"""Stand-ins for the model and the search, shared by the agents' tests: they answer what they were told to."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field

from app.agents.base import AgentRequest, AgentTools
from app.llm.messages import Asked, Completion, M, Message, OnToken, Structured
from app.llm.search import SearchResult, WebSearch
from app.llm.usage import TokenUsage

USAGE = TokenUsage(prompt=10, completion=5, total=15)


@dataclass
class SteadyChat:
    """Answers every call with `answer`, raises it when it is an error, and keeps silent for ever when it is `None`."""

    answer: str | Exception | None
    asked: list[tuple[Asked, tuple[Message, ...]]] = field(default_factory=list)
    limits: list[int | None] = field(default_factory=list)
    was_asked: asyncio.Event = field(default_factory=asyncio.Event)

    def model_name(self, role: Asked) -> str:
        return f"{role}-model"

    async def complete(
        self,
        role: Asked,
        messages: Sequence[Message],
        *,
        max_tokens: int | None = None,
        on_token: OnToken | None = None,
    ) -> Completion:
        self.limits.append(max_tokens)
        return Completion(await self._say(role, messages), self.model_name(role), USAGE)

    async def structured(self, role: Asked, messages: Sequence[Message], schema: type[M]) -> Structured[M]:
        return Structured(schema.model_validate_json(await self._say(role, messages)), self.model_name(role), USAGE)

    async def _say(self, role: Asked, messages: Sequence[Message]) -> str:
        self.asked.append((role, tuple(messages)))
        self.was_asked.set()
        if self.answer is None:
            await asyncio.Event().wait()
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer or ""


@dataclass
class FixedSearch:
    results: list[SearchResult] = field(default_factory=list)
    available: bool = True
    failure: Exception | None = None
    asked: list[str] = field(default_factory=list)

    async def search(self, query: str, *, max_results: int) -> list[SearchResult]:
        self.asked.append(query)
        if self.failure is not None:
            raise self.failure
        return self.results[:max_results]

    async def aclose(self) -> None:
        return None


def a_source(number: int, snippet: str = "A fact.") -> SearchResult:
    return SearchResult(f"Page {number}", f"https://example.com/{number}", snippet, "example.com")


def a_request(text: str) -> AgentRequest:
    return AgentRequest(task_id="t-1", session_id="s-1", tenant_id="default", text=text)


def tools_with(chat: SteadyChat, search: WebSearch | None = None) -> AgentTools:
    return AgentTools(chat, search or FixedSearch())
