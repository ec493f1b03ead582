"""What agents reach besides the tools of their toolbox, with the policy asked before every call."""

from collections.abc import Mapping
from typing import Any

from app.agents.metering import WEB_SEARCH
from app.agents.tools.models import SideEffect, ToolDescription
from app.agents.tools.tool import ToolGuard
from app.effects.tool import Effects, Fire, Performed
from app.llm.search import SearchResult, WebSearch
from app.tasks.tool_policy import ToolPolicy

_SEARCH = ToolDescription(WEB_SEARCH, "Searches the web.", {"type": "object"}, SideEffect.NONE)


class PermittedSearch:
    def __init__(self, search: WebSearch, calls: ToolGuard) -> None:
        self._search = search
        self._calls = calls

    @property
    def available(self) -> bool:
        return self._search.available

    async def search(self, query: str, *, max_results: int) -> list[SearchResult]:
        if self.available:
            allowed = await self._calls.check(_SEARCH, {"query": query})
            query = str(allowed.get("query", query))
        return await self._search.search(query, max_results=max_results)

    async def aclose(self) -> None:
        """Does nothing: the search outlives the run it is permitted for."""


class PermittedEffects:
    """Effects that an agent performs itself; those of its tools are asked about as calls of these."""

    def __init__(self, effects: Effects, calls: ToolPolicy) -> None:
        self._effects = effects
        self._calls = calls

    async def perform(self, name: str, arguments: Any, fire: Fire, **options: Any) -> Performed:
        described = ToolDescription(name, "An effect of the agent's own.", {}, SideEffect.EXTERNAL)
        # What is fired is in the agent's hands: people may approve it as it is, and not change it.
        await self._calls.check(described, _as_object(arguments), is_fixed=True)
        return await self._effects.perform(name, arguments, fire, **options)


def _as_object(arguments: Any) -> Mapping[str, Any]:
    return arguments if isinstance(arguments, Mapping) else {"value": arguments}
