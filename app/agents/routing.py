"""What the router may answer, and what is made of it. Pure."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from app.agents.specs import AgentSpec
from app.errors import ExecutionError

UNKNOWN = "Unknown"
MOST_CANDIDATES = 5
LONGEST_NAME = 64
LONGEST_REASON = 500
# Scores that differ by less tell no agents apart.
MARGIN = 0.1


class RoutingRule(StrEnum):
    """What decided where a task goes. The last five leave it without an agent."""

    CLIENT_CHOICE = "client_choice"
    TYPED_INPUT = "typed_input"
    MODEL_CHOICE = "model_choice"
    BELOW_THRESHOLD = "below_threshold"
    AMBIGUOUS = "ambiguous"
    UNKNOWN = "unknown"
    UNAVAILABLE_AGENT = "unavailable_agent"
    MISSING_INPUT = "missing_input"


# Cut, not refused: what is too long is of no use to anybody, and no reason to ask the model again.
AgentName = Annotated[str, AfterValidator(lambda name: name.strip()[:LONGEST_NAME])]
Reason = Annotated[str, AfterValidator(lambda reason: reason[:LONGEST_REASON])]


class Candidate(BaseModel):
    """An agent that could do the task."""

    model_config = ConfigDict(frozen=True, hide_input_in_errors=True)

    agent_name: AgentName = Field(description="Exact name of a listed agent.")
    score: float = Field(ge=0, le=1, description="How well it fits, from 0 to 1.")
    reason: Reason = Field(description="Why, in a few words.")


def _best(candidates: list[Candidate]) -> list[Candidate]:
    """The best first, each agent once."""
    ranked: dict[str, Candidate] = {}
    for one in sorted(candidates, key=lambda one: -one.score):
        ranked.setdefault(one.agent_name, one)
    return list(ranked.values())[:MOST_CANDIDATES]


class RoutingDecision(BaseModel):
    """The agent that should do the task, and those that could."""

    model_config = ConfigDict(frozen=True, hide_input_in_errors=True)

    candidates: Annotated[list[Candidate], AfterValidator(_best)] = Field(
        description=f"The listed agents that could do it, at most {MOST_CANDIDATES}, the best first; may be empty."
    )
    agent_name: AgentName = Field(description="Exact name of a listed agent, or Unknown.")
    confidence: float = Field(ge=0, le=1, description="How sure this is, from 0 to 1.")
    reasoning: Reason = Field(description="One short sentence for the user.")

    @model_validator(mode="before")
    @classmethod
    def _candidates_may_be_left_out(cls, answer: Any) -> Any:
        # Models without strict schemas do so, and their choice can be used without them.
        return {"candidates": [], **answer} if isinstance(answer, dict) else answer


class UnknownTaskType(ExecutionError):
    code = "UNKNOWN_TASK_TYPE"
    title = "No agent for this task"


@dataclass(frozen=True, slots=True)
class PromptVersion:
    name: str
    digest: str


@dataclass(frozen=True, slots=True)
class Grounds:
    """What a decision came from; ``candidates`` are agents that exist. No model was asked when there is none."""

    rule: RoutingRule
    candidates: tuple[Candidate, ...] = ()
    prompt: PromptVersion | None = None
    model: str | None = None
    threshold: float | None = None


@dataclass(frozen=True, slots=True)
class Route:
    agent_name: str
    agent_type: str
    confidence: float
    reasoning: str
    grounds: Grounds


@dataclass(frozen=True, slots=True)
class Unrouted:
    """``agent_name`` is what the router named, whatever that is; ``error`` is what the task fails with.

    ``why`` is ours, in half a sentence, and ``reasoning`` the router's. ``options`` are the agents that could take the
    task if somebody named one, those that the router listed first.
    """

    agent_name: str
    confidence: float
    reasoning: str
    why: str
    grounds: Grounds
    options: tuple[str, ...]
    error: ExecutionError


@dataclass(frozen=True, slots=True)
class Accepted:
    agent_name: str
    rule: RoutingRule = RoutingRule.MODEL_CHOICE


@dataclass(frozen=True, slots=True)
class Declined:
    rule: RoutingRule
    why: str


def decide_route(
    decision: RoutingDecision, names: Collection[str], minimum: float, *, lacking_input: Collection[str] = ()
) -> Accepted | Declined:
    """Takes the router at its word only for an agent that exists and can take the task, and only when it is sure.

    ``lacking_input`` are the agents that need input which the task does not have.
    """
    name, confidence = decision.agent_name, decision.confidence
    if name.casefold() == UNKNOWN.casefold():
        return Declined(RoutingRule.UNKNOWN, "the router found no agent for it")
    if name not in names:
        return Declined(RoutingRule.UNAVAILABLE_AGENT, "the router named an agent that does not exist")
    if rival := _rival(decision, names, sure=confidence >= minimum):
        return Declined(RoutingRule.AMBIGUOUS, f"the router cannot tell {name} from {rival}")
    if confidence < minimum:
        why = f"the router is not sure enough ({confidence:.2f}, needed {minimum:.2f})"
        return Declined(RoutingRule.BELOW_THRESHOLD, why)
    if name in lacking_input:
        return Declined(RoutingRule.MISSING_INPUT, f"{name} needs input that the task does not have")
    return Accepted(name)


def _rival(decision: RoutingDecision, names: Collection[str], *, sure: bool) -> str | None:
    """An agent scored clearly higher than the chosen one; for a router that is not sure, about as high."""
    scores = {one.agent_name: one.score for one in decision.candidates if one.agent_name in names}
    own = scores.pop(decision.agent_name, decision.confidence)
    if not scores:
        return None
    rival = max(scores, key=lambda name: scores[name])
    return rival if scores[rival] >= own + (MARGIN if sure else -MARGIN) else None


def options_of(decision: RoutingDecision, names: Collection[str], lacking_input: Collection[str]) -> tuple[str, ...]:
    """The agents that could take the task, those that the router listed first."""
    ranked = dict.fromkeys([*(one.agent_name for one in decision.candidates), *names])
    return tuple(name for name in ranked if name in names and name not in lacking_input)


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
