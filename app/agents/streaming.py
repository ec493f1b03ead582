"""Tools that let others see what an agent does with them, while it does it."""

from collections.abc import Iterator, Mapping, Sequence, Set
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from typing import Any

from app.agents.base import AgentTools
from app.agents.metering import WEB_SEARCH
from app.agents.tools.models import Toolbox, ToolDescription, ToolResult
from app.effects.tool import Effects, Fire, NoEffects, Performed
from app.events.publishing import LiveRun
from app.llm.facade import ChatFacade
from app.llm.messages import Asked, Chat, Completion, Message, OnToken
from app.llm.search import SearchResult, WebSearch


def in_public(tools: AgentTools, run: LiveRun) -> AgentTools:
    """The same tools. The texts that a model writes are published, and of tools their names and how a call ended."""
    return replace(
        tools,
        chat=StreamingChat(tools.chat, run),
        search=PublicSearch(tools.search, run),
        effects=tools.effects if isinstance(tools.effects, NoEffects) else PublicEffects(tools.effects, run),
        toolbox=PublicToolbox(tools.toolbox, run),
    )


class StreamingChat(ChatFacade):
    """Asks for texts in pieces, and publishes them as they come. Structured answers are of no use in pieces."""

    def __init__(self, chat: Chat, run: LiveRun) -> None:
        super().__init__(chat)
        self._run = run

    async def complete(
        self,
        role: Asked,
        messages: Sequence[Message],
        *,
        max_tokens: int | None = None,
        on_token: OnToken | None = None,
    ) -> Completion:
        publish = self._publishing(role, on_token) if self._run.streams_tokens else on_token
        return await super().complete(role, messages, max_tokens=max_tokens, on_token=publish)

    def _publishing(self, role: Asked, on_token: OnToken | None) -> OnToken:
        model = self._chat.model_name(role)
        answer = self._run.begin_answer(model)

        def publish(text: str) -> None:
            nonlocal answer
            if text:
                answer.add(text)
            elif answer.has_text:
                # The model before broke off, and another begins.
                answer = self._run.begin_answer(model)
            if on_token is not None:
                on_token(text)

        return publish


class PublicSearch:
    def __init__(self, search: WebSearch, run: LiveRun) -> None:
        self._search = search
        self._run = run

    @property
    def available(self) -> bool:
        return self._search.available

    async def search(self, query: str, *, max_results: int) -> list[SearchResult]:
        if not self.available:
            return await self._search.search(query, max_results=max_results)
        with published(self._run, WEB_SEARCH):
            return await self._search.search(query, max_results=max_results)

    async def aclose(self) -> None:
        """Does nothing: the search outlives the run it is published for."""


class PublicEffects:
    def __init__(self, effects: Effects, run: LiveRun) -> None:
        self._effects = effects
        self._run = run

    async def perform(self, name: str, arguments: Any, fire: Fire, **options: Any) -> Performed:
        with published(self._run, name):
            return await self._effects.perform(name, arguments, fire, **options)


class PublicToolbox:
    def __init__(self, toolbox: Toolbox, run: LiveRun) -> None:
        self._toolbox = toolbox
        self._run = run

    @property
    def names(self) -> Set[str]:
        return self._toolbox.names

    async def describe(self) -> Sequence[ToolDescription]:
        return await self._toolbox.describe()

    async def call(self, name: str, arguments: Mapping[str, Any], *, step: str | None = None) -> ToolResult:
        # A name that is not allowed is whatever the model made up.
        with published(self._run, name) if name in self.names else nullcontext():
            return await self._toolbox.call(name, arguments, step=step)


@contextmanager
def published(run: LiveRun, tool: str) -> Iterator[None]:
    """Says when the call of a tool begins and how it ends."""
    finish, status = run.begin_tool(tool), "failed"
    try:
        yield
        status = "completed"
    finally:
        finish(status)
