"""What the router may answer, and what is made of it. Pure."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from pydantic import BaseModel, ConfigDict, Field

from app.agents.specs import AgentSpec
from app.errors import ExecutionError

UNKNOWN = "Unknown"


class RoutingDecision(BaseModel):
    """The agent that should do the task."""

    model_config = ConfigDict(frozen=True, hide_input_in_errors=True)

    agent_name: str = Field(description="Exact name of a listed agent, or Unknown.")
    confidence: float = Field(ge=0, le=1, description="How sure this is, from 0 to 1.")
    reasoning: str = Field(description="One short sentence for the user.")


class UnknownTaskType(ExecutionError):
    code = "UNKNOWN_TASK_TYPE"
    title = "No agent for this task"


@dataclass(frozen=True, slots=True)
class Route:
    agent_name: str
    agent_type: str
    confidence: float
    reasoning: str


@dataclass(frozen=True, slots=True)
class Accepted:
    agent_name: str


@dataclass(frozen=True, slots=True)
class Declined:
    why: str


def decide_route(decision: RoutingDecision, names: Collection[str], minimum: float) -> Accepted | Declined:
    """Takes the router at its word only for an agent that exists, and only when it is sure enough."""
    name = decision.agent_name.strip()
    if name in names and decision.confidence >= minimum:
        return Accepted(name)
    if name in names:
        return Declined(f"the router is not sure enough ({decision.confidence:.2f}, needed {minimum:.2f})")
    if name.casefold() == UNKNOWN.casefold():
        return Declined("the router found no agent for it")
    return Declined("the router named an agent that does not exist")


def unknown_task_type(decision: RoutingDecision, names: Collection[str], why: str) -> UnknownTaskType:
    return UnknownTaskType(
        f"no agent takes this task: {why}. Available agents: {', '.join(names) or 'none'}.",
        agent_name=decision.agent_name,
        confidence=decision.confidence,
        reasoning=decision.reasoning,
        agents=list(names),
    )


def describe(agents: Sequence[AgentSpec]) -> str:
    """The list of agents as the router's prompt shows it."""
    return "\n".join(_described(spec) for spec in agents)


def _described(spec: AgentSpec) -> str:
    examples = "".join(f"\n  Example: {example}" for example in spec.examples)
    return f"- {spec.name}: {spec.description}{examples}"
