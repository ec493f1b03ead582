"""Counts what a run consumes, also when it fails or is cancelled half-way."""

from collections.abc import Awaitable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from app.agents.base import AgentTools
from app.checkpoints.service import AgentCheckpoints
from app.effects.tool import Effects, Fire, NoEffects, Performed
from app.errors import CircuitOpen
from app.llm.errors import ModelCallError
from app.llm.messages import A, Chat, Completion, M, Message, OnToken, Structured
from app.llm.search import SearchResult, WebSearch
from app.llm.usage import NO_USAGE, ModelRole, TokenUsage

WEB_SEARCH = "web_search"


@dataclass(slots=True)
class Meter:
    """One per agent run. Everything is in order of first use."""

    usage_by_model: dict[str, TokenUsage] = field(default_factory=dict)
    calls: int = 0
    _tools: dict[str, None] = field(default_factory=dict)

    @property
    def usage(self) -> TokenUsage:
        return sum(self.usage_by_model.values(), NO_USAGE)

    @property
    def models(self) -> tuple[str, ...]:
        return tuple(self.usage_by_model)

    @property
    def model(self) -> str | None:
        """The run's model for a single-line record: the first it asked."""
        return next(iter(self.usage_by_model), None)

    @property
    def tools_used(self) -> tuple[str, ...]:
        return tuple(self._tools)

    def record_call(self, model: str, usage: TokenUsage) -> None:
        self.calls += 1
        self.usage_by_model[model] = self.usage_by_model.get(model, NO_USAGE) + usage

    def record_tool(self, name: str) -> None:
        self._tools[name] = None

    def as_document(self) -> dict[str, Any]:
        """What was consumed so far, as it is stored with a checkpoint."""
        models = [{"model": model, **asdict(usage)} for model, usage in self.usage_by_model.items()]
        return {"models": models, "calls": self.calls, "tools": list(self._tools)}

    def carry(self, document: Mapping[str, Any]) -> None:
        """Count what an attempt consumed that could not report it any more."""
        self.calls += document["calls"]
        for entry in document["models"]:
            usage = TokenUsage(entry["prompt"], entry["completion"], entry["total"])
            self.usage_by_model[entry["model"]] = self.usage_by_model.get(entry["model"], NO_USAGE) + usage
        for name in document["tools"]:
            self.record_tool(name)

    def tools(
        self,
        chat: Chat,
        search: WebSearch,
        *,
        max_sources: int = 5,
        effects: Effects | None = None,
        checkpoints: AgentCheckpoints | None = None,
    ) -> AgentTools:
        """The given tools, counted by this meter."""
        metered = MeteredEffects(effects, self) if effects else NoEffects()
        return AgentTools(MeteredChat(chat, self), MeteredSearch(search, self), max_sources, metered, checkpoints)


class MeteredChat:
    def __init__(self, chat: Chat, meter: Meter) -> None:
        self._chat = chat
        self._meter = meter

    def model_name(self, role: ModelRole) -> str:
        return self._chat.model_name(role)

    async def complete(
        self,
        role: ModelRole,
        messages: Sequence[Message],
        *,
        max_tokens: int | None = None,
        on_token: OnToken | None = None,
    ) -> Completion:
        return await self._counted(role, self._chat.complete(role, messages, max_tokens=max_tokens, on_token=on_token))

    async def structured(self, role: ModelRole, messages: Sequence[Message], schema: type[M]) -> Structured[M]:
        return await self._counted(role, self._chat.structured(role, messages, schema))

    async def _counted(self, role: ModelRole, call: Awaitable[A]) -> A:
        model, usage, was_made = self._chat.model_name(role), NO_USAGE, True
        try:
            answer = await call
            model, usage = answer.model, answer.usage
            return answer
        except CircuitOpen:
            was_made = False
            raise
        except ModelCallError as error:
            usage = error.usage
            raise
        finally:
            # In `finally`, so that a cancelled call still shows which model it was asking.
            if was_made:
                self._meter.record_call(model, usage)


class MeteredSearch:
    def __init__(self, search: WebSearch, meter: Meter) -> None:
        self._search = search
        self._meter = meter

    @property
    def available(self) -> bool:
        return self._search.available

    async def search(self, query: str, *, max_results: int) -> list[SearchResult]:
        if self.available:
            self._meter.record_tool(WEB_SEARCH)
        return await self._search.search(query, max_results=max_results)

    async def aclose(self) -> None:
        """Does nothing: the search outlives the run it is metered for."""


class MeteredEffects:
    def __init__(self, effects: Effects, meter: Meter) -> None:
        self._effects = effects
        self._meter = meter

    async def perform(self, name: str, arguments: Any, fire: Fire, **options: Any) -> Performed:
        self._meter.record_tool(name)
        return await self._effects.perform(name, arguments, fire, **options)
