"""Counts what a run consumes, also when it fails or is cancelled half-way."""

import asyncio
from collections.abc import Mapping, Sequence, Set
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from app.agents.base import AgentTools
from app.agents.prompt import PromptText
from app.agents.tools.models import NoTools, Toolbox, ToolDescription, ToolResult
from app.checkpoints.service import AgentCheckpoints
from app.effects.tool import Effects, Fire, NoEffects, Performed
from app.errors import OrchestratorError
from app.llm.errors import ModelCallError
from app.llm.facade import ChatFacade, Question
from app.llm.fallback import FallbackChat
from app.llm.messages import A, Chat, Message
from app.llm.prices import Prices
from app.llm.providers import Chains
from app.llm.search import SearchResult, WebSearch
from app.llm.usage import NO_USAGE, TokenUsage

WEB_SEARCH = "web_search"
CANCELLED = "CANCELLED"


@dataclass(slots=True)
class ModelUse:
    """What became of a run's calls to one model; ``last_error`` is the code of the last that failed."""

    usage: TokenUsage = NO_USAGE
    calls: int = 0
    failures: int = 0
    billed: int = 0
    last_error: str | None = None

    @property
    def has_answered(self) -> bool:
        return self.calls > self.failures


@dataclass(slots=True)
class Meter:
    """One per agent run. Everything is in order of first use.

    With ``chains`` the run's calls for a role go on to the next model when one fails; every call is counted.
    """

    chains: Chains | None = None
    prices: Prices = field(default_factory=Prices)
    uses: dict[str, ModelUse] = field(default_factory=dict)
    prompts: dict[str, str] = field(default_factory=dict)
    _tools: dict[str, None] = field(default_factory=dict)

    @property
    def usage_by_model(self) -> dict[str, TokenUsage]:
        return {model: use.usage for model, use in self.uses.items() if use.calls}

    @property
    def usage(self) -> TokenUsage:
        return sum(self.usage_by_model.values(), NO_USAGE)

    @property
    def usd(self) -> float:
        return self.prices.total(self.usage_by_model)

    @property
    def unpriced_calls(self) -> int:
        """Calls that were billed and whose price is not known."""
        return sum(use.billed for model, use in self.uses.items() if not self.prices.knows(model))

    @property
    def calls(self) -> int:
        return sum(use.calls for use in self.uses.values())

    @property
    def models(self) -> tuple[str, ...]:
        return tuple(self.usage_by_model)

    @property
    def model(self) -> str | None:
        """The run's model for a single-line record: the first that answered, else the first it asked."""
        answered = (model for model, use in self.uses.items() if use.has_answered)
        return next(answered, next(iter(self.usage_by_model), None))

    @property
    def tools_used(self) -> tuple[str, ...]:
        return tuple(self._tools)

    def record_call(self, model: str, usage: TokenUsage, *, error: str | None = None) -> None:
        use = self.uses.setdefault(model, ModelUse())
        use.usage += usage
        use.calls += 1
        use.billed += bool(usage.total)
        if error is not None:
            use.failures += 1
            use.last_error = error

    def record_refusal(self, model: str, error: str) -> None:
        """Nobody was asked, so there is no call to count."""
        self.uses.setdefault(model, ModelUse()).last_error = error

    def record_prompts(self, messages: Sequence[Message]) -> None:
        """Note the prompts that messages were rendered from."""
        for message in messages:
            if isinstance(message.content, PromptText):
                self.prompts[message.content.name] = message.content.digest

    def record_tool(self, name: str) -> None:
        self._tools[name] = None

    def as_document(self) -> dict[str, Any]:
        """What was consumed so far, as it is stored with a checkpoint."""
        models = [
            {"model": model, **asdict(use.usage), "calls": use.calls, "failures": use.failures, "billed": use.billed}
            for model, use in self.uses.items()
            if use.calls
        ]
        return {"models": models, "calls": self.calls, "tools": list(self._tools), "prompts": self.prompts}

    def carry(self, document: Mapping[str, Any]) -> None:
        """Count what an attempt consumed that could not report it any more."""
        for entry in document["models"]:
            use = self.uses.setdefault(entry["model"], ModelUse())
            use.usage += TokenUsage(**{one.name: entry.get(one.name, 0) for one in fields(TokenUsage)})
            use.failures += entry.get("failures", 0)
            use.billed += entry.get("billed", 0)
            use.calls += entry.get("calls", 0)
        # An older version counted the calls of all models together.
        if (uncounted := document["calls"] - sum(entry.get("calls", 0) for entry in document["models"])) and self.uses:
            next(iter(self.uses.values())).calls += uncounted
        self.prompts.update(document.get("prompts", {}))
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
        toolbox: Toolbox | None = None,
    ) -> AgentTools:
        """The given tools, counted by this meter."""
        metered = MeteredEffects(effects, self) if effects else NoEffects()
        asked = MeteredChat(chat, self)
        return AgentTools(
            FallbackChat(asked, self.chains) if self.chains else asked,
            MeteredSearch(search, self),
            max_sources,
            metered,
            checkpoints,
            toolbox=MeteredToolbox(toolbox, self) if toolbox else NoTools(),
        )


class MeteredChat(ChatFacade):
    def __init__(self, chat: Chat, meter: Meter) -> None:
        super().__init__(chat)
        self._meter = meter

    async def _ask(self, question: Question[A]) -> A:
        self._meter.record_prompts(question.messages)
        model = self._chat.model_name(question.role)
        try:
            answer = await question.put_to(self._chat)
        except ModelCallError as error:
            self._meter.record_call(model, error.usage, error=error.code)
            raise
        except OrchestratorError as error:
            self._meter.record_refusal(model, error.code)
            raise
        except asyncio.CancelledError:
            # Also a cancelled call shows which model it was asking.
            self._meter.record_call(model, NO_USAGE, error=CANCELLED)
            raise
        self._meter.record_call(answer.model, answer.usage)
        return answer


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


class MeteredToolbox:
    def __init__(self, toolbox: Toolbox, meter: Meter) -> None:
        self._toolbox = toolbox
        self._meter = meter

    @property
    def names(self) -> Set[str]:
        return self._toolbox.names

    async def describe(self) -> Sequence[ToolDescription]:
        return await self._toolbox.describe()

    async def call(self, name: str, arguments: Mapping[str, Any], *, step: str | None = None) -> ToolResult:
        if name in self.names:
            self._meter.record_tool(name)
        return await self._toolbox.call(name, arguments, step=step)
