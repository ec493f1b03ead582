"""The PeerAgent: a graph that classifies a task and routes it to an agent.

::

    START ─► classify_task ─► route_to_agent ─► END

`classify_task` asks the model; `route_to_agent` checks its answer against the registry and raises `UnknownTaskType`
when nobody takes the task.
"""

from dataclasses import dataclass
from typing import TypedDict, cast

from langgraph.graph import END, START, StateGraph
from langgraph.runtime import Runtime

from app.agents.base import AgentRequest, AgentTools
from app.agents.prompt import load_prompt
from app.agents.registry import Registry
from app.agents.routing import Accepted, Route, RoutingDecision, decide_route, describe, unknown_task_type
from app.llm.messages import Chat, Message
from app.llm.usage import ModelRole


class RoutingState(TypedDict, total=False):
    task: str
    decision: RoutingDecision
    route: Route


@dataclass(frozen=True, slots=True)
class RoutingContext:
    chat: Chat
    corrections: tuple[Message, ...] = ()


class PeerAgent:
    """Compiled once, shared by concurrent runs: what belongs to a run travels in its state and context."""

    def __init__(self, registry: Registry, *, minimum_confidence: float) -> None:
        self._agents = {spec.name: spec for spec in registry.list_routable()}
        self._minimum = minimum_confidence
        self._instructions = load_prompt("router").render(agents=describe(list(self._agents.values())))
        graph = StateGraph(RoutingState, context_schema=RoutingContext)
        graph.add_node("classify_task", self._classify_task)
        graph.add_node("route_to_agent", self._route_to_agent)
        graph.add_edge(START, "classify_task")
        graph.add_edge("classify_task", "route_to_agent")
        graph.add_edge("route_to_agent", END)
        self._graph = graph.compile(name="PeerAgent")

    async def route(self, request: AgentRequest, tools: AgentTools) -> Route:
        """Raises `UnknownTaskType`, or what the model call raises."""
        context = RoutingContext(tools.chat, request.corrections)
        state = await self._graph.ainvoke(RoutingState(task=request.text), context=context)
        return cast("Route", state["route"])

    async def _classify_task(self, state: RoutingState, runtime: Runtime[RoutingContext]) -> RoutingState:
        asked = (Message("system", self._instructions), Message("user", state["task"]))
        context = runtime.context
        answer = await context.chat.structured(ModelRole.PEER, (*asked, *context.corrections), RoutingDecision)
        return RoutingState(decision=answer.value)

    async def _route_to_agent(self, state: RoutingState) -> RoutingState:
        decision = state["decision"]
        verdict = decide_route(decision, self._agents, self._minimum)
        if not isinstance(verdict, Accepted):
            raise unknown_task_type(decision, list(self._agents), verdict.why)
        spec = self._agents[verdict.agent_name]
        return RoutingState(route=Route(spec.name, spec.agent_type, decision.confidence, decision.reasoning))
