"""The PeerAgent: a graph that classifies a task and routes it to an agent.

::

    START ─► classify_task ─► route_to_agent ─► END

`classify_task` asks the model; `route_to_agent` checks its answer against the registry and the task's input.
"""

from dataclasses import dataclass
from typing import TypedDict, cast

from langgraph.graph import END, START, StateGraph
from langgraph.runtime import Runtime

from app.agents.base import AgentRequest, AgentTools
from app.agents.context import last_turn
from app.agents.contracts import AgentInputInvalid, problems_of, told
from app.agents.prompt import load_prompt
from app.agents.registry import Registry
from app.agents.routing import (
    Accepted,
    Declined,
    Grounds,
    PromptVersion,
    Route,
    RoutingDecision,
    RoutingRule,
    Unrouted,
    decide_route,
    describe,
    options_of,
    unknown_task_type,
)
from app.errors import ExecutionError
from app.llm.messages import Chat, Message
from app.llm.usage import ModelRole

# Of each text of the last turn: enough to see what a task such as "and now in Go" goes on with.
LONGEST_EARLIER = 500


class RoutingState(TypedDict, total=False):
    task: str
    decision: RoutingDecision
    model: str
    found: Route | Unrouted


@dataclass(frozen=True, slots=True)
class RoutingContext:
    chat: Chat
    corrections: tuple[Message, ...] = ()
    earlier: tuple[Message, ...] = ()
    has_input: bool = False


class PeerAgent:
    """Compiled once, shared by concurrent runs: what belongs to a run travels in its state and context."""

    def __init__(self, registry: Registry, *, minimum_confidence: float) -> None:
        self._agents = {spec.name: spec for spec in registry.list_routable()}
        # By agent what is wrong with no input at all.
        self._needs = {name: problems for name, spec in self._agents.items() if (problems := problems_of(spec, {}))}
        self._minimum = minimum_confidence
        self._instructions = load_prompt("router").render(agents=describe(list(self._agents.values())))
        self._prompt = PromptVersion(self._instructions.name, self._instructions.digest)
        graph = StateGraph(RoutingState, context_schema=RoutingContext)
        graph.add_node("classify_task", self._classify_task)
        graph.add_node("route_to_agent", self._route_to_agent)
        graph.add_edge(START, "classify_task")
        graph.add_edge("classify_task", "route_to_agent")
        graph.add_edge("route_to_agent", END)
        self._graph = graph.compile(name="PeerAgent")

    async def route(self, request: AgentRequest, tools: AgentTools) -> Route:
        """Raises `UnknownTaskType`, `AgentInputInvalid`, or what the model call raises."""
        found = await self.consider(request, tools)
        if isinstance(found, Unrouted):
            raise found.error
        return found

    async def consider(self, request: AgentRequest, tools: AgentTools) -> Route | Unrouted:
        """Where the task goes, or why nowhere, with the grounds. Raises what the model call raises."""
        earlier = last_turn(request.history, longest=LONGEST_EARLIER)
        context = RoutingContext(tools.chat, request.corrections, earlier, has_input=bool(request.inputs))
        state = await self._graph.ainvoke(RoutingState(task=request.text), context=context)
        return cast("Route | Unrouted", state["found"])

    async def _classify_task(self, state: RoutingState, runtime: Runtime[RoutingContext]) -> RoutingState:
        context = runtime.context
        asked = (Message("system", self._instructions), *context.earlier, Message("user", state["task"]))
        answer = await context.chat.structured(ModelRole.PEER, (*asked, *context.corrections), RoutingDecision)
        return RoutingState(decision=answer.value, model=answer.model)

    async def _route_to_agent(self, state: RoutingState, runtime: Runtime[RoutingContext]) -> RoutingState:
        decision = state["decision"]
        lacking = () if runtime.context.has_input else tuple(self._needs)
        verdict = decide_route(decision, self._agents, self._minimum, lacking_input=lacking)
        grounds = Grounds(
            verdict.rule,
            tuple(one for one in decision.candidates if one.agent_name in self._agents),
            self._prompt,
            state["model"],
            self._minimum,
        )
        if isinstance(verdict, Accepted):
            spec = self._agents[verdict.agent_name]
            return RoutingState(
                found=Route(spec.name, spec.agent_type, decision.confidence, decision.reasoning, grounds)
            )
        options, error = options_of(decision, self._agents, lacking), self._error_of(decision, verdict)
        unrouted = Unrouted(
            decision.agent_name, decision.confidence, decision.reasoning, verdict.why, grounds, options, error
        )
        return RoutingState(found=unrouted)

    def _error_of(self, decision: RoutingDecision, verdict: Declined) -> ExecutionError:
        if verdict.rule is RoutingRule.MISSING_INPUT:
            needed = told(self._needs[decision.agent_name])
            return AgentInputInvalid(f"{verdict.why}: {needed}", agent=decision.agent_name)
        return unknown_task_type(decision, list(self._agents), verdict.why)
