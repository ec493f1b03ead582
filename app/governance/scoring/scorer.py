"""What a deployment knows of its agents and prices, for scoring work that is meant for them. No call leaves it."""

from collections.abc import Mapping
from dataclasses import replace

from app.agents.contracts import problems_of
from app.agents.registry import Registry
from app.agents.specs import AgentSpec
from app.agents.tools.allowing import tools_of
from app.agents.tools.models import MCP_PREFIX, SideEffect
from app.governance.budgets.models import Unit, counted
from app.governance.budgets.pricing import Price
from app.governance.scoring.models import AgentFacts, Scores, ScoringSubject, TokenPrice, Work
from app.governance.scoring.scoring import alignment_of, score
from app.llm.providers import Chains
from app.llm.usage import TokenUsage
from app.setting_mcp import McpServer

# Few enough for the price of short prompts, which long ones exceed with some models.
_PRICED = 1000
_MILLION = 1_000_000


class Scorer:
    """``chains`` and ``price`` say what an agent's model costs."""

    def __init__(self, registry: Registry, servers: Mapping[str, McpServer], chains: Chains, price: Price) -> None:
        self._registry = registry
        self._servers = servers
        self._chains = chains
        self._price = price
        self._acting = acting_tools(registry, servers)

    def score(self, work: Work) -> Scores:
        """The subject, done by its agent; without one, by the routable agent that it is aligned with best.

        Input that is not known yet is taken for such as the agent takes. Raises `AgentNotFound`.
        """
        subject = work.subject
        if not subject.needs_agent:
            return score(subject)
        if work.agent is not None:
            spec = self._registry.find_agent(work.agent) or self._registry.get_agent(work.agent)
            return score(self._given_to(spec, work))
        candidates = [self._given_to(spec, work) for spec in self._registry.list_routable()]
        # Of equal ones the first.
        return score(max(candidates, key=lambda one: alignment_of(one).points, default=subject))

    def _given_to(self, spec: AgentSpec, work: Work) -> ScoringSubject:
        fits = not work.is_input_known or not problems_of(spec, work.subject.input)
        return replace(work.subject, agent=self._facts_of(spec), input_fits=fits)

    def _facts_of(self, spec: AgentSpec) -> AgentFacts:
        tools = tools_of(spec, self._servers)
        acting = len(tools & self._acting)
        return AgentFacts(
            spec.name,
            "\n".join((spec.description, *spec.examples)),
            spec.cost_class,
            acting_tools=acting,
            reading_tools=len(tools) - acting,
            price=self._price_of(spec),
        )

    def _price_of(self, spec: AgentSpec) -> TokenPrice | None:
        model = str(self._chains[spec.model_role][0])
        prompt = self._price(model, TokenUsage(prompt=_PRICED, total=_PRICED))
        completion = self._price(model, TokenUsage(completion=_PRICED, total=_PRICED))
        if prompt is None or completion is None:
            return None
        return TokenPrice(*(counted(Unit.USD, usd) * _MILLION // _PRICED for usd in (prompt, completion)))


def acting_tools(registry: Registry, servers: Mapping[str, McpServer]) -> frozenset[str]:
    """Every tool that changes something outside; one of an MCP server does unless its operator says otherwise."""
    own = {tool.name for tool in registry.list_tools() if tool.side_effect is SideEffect.EXTERNAL}
    called = {
        f"{MCP_PREFIX}{name}.{tool}"
        for name, server in servers.items()
        for tool in server.tools - set(server.read_only)
    }
    return frozenset(own | called)
