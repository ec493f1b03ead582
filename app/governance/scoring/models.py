"""What is scored, and what comes out of it. Whole numbers throughout, so that every machine gets the same."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from enum import StrEnum
from typing import Any

from app.agents.specs import CostClass
from app.governance.budgets.models import NOTHING, Amounts, Unit, shown

# What is shown as 1: values have four decimal places.
FULL = 10_000
PERCENT = 100


class Dimension(StrEnum):
    """What is asked before work begins: can it end well, is it for this agent, what may go wrong, what is spent."""

    FEASIBILITY = "feasibility"
    ALIGNMENT = "alignment"
    RISK = "risk"
    COST = "cost"


@dataclass(frozen=True, slots=True)
class TokenPrice:
    """In nano-dollars for a million tokens."""

    prompt: int
    completion: int


@dataclass(frozen=True, slots=True)
class AgentFacts:
    """Who would do it. ``abilities`` are its description and examples; tools are counted by whether they change
    something outside. ``price`` is None for a model whose price is not known."""

    name: str
    abilities: str
    cost_class: CostClass
    acting_tools: int = 0
    reading_tools: int = 0
    price: TokenPrice | None = None


@dataclass(frozen=True, slots=True)
class ScoringSubject:
    """A task or a step, with everything that its scores depend on.

    ``needs_agent`` is False for steps that do what is written without one, and ``agent`` is None where nobody is known
    to do it. ``depth`` counts the steps around a step, ``repetitions`` how often the loops around it may repeat it.
    """

    text: str
    input: Mapping[str, Any] = field(default_factory=dict)
    agent: AgentFacts | None = None
    needs_agent: bool = True
    is_named: bool = False
    input_fits: bool = True
    limits: Amounts = field(default_factory=lambda: NOTHING)
    deadline: timedelta | None = None
    depth: int = 0
    repetitions: int = 1
    secrets: int = 0
    command: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Work:
    """A subject and the agent it is meant for, as workflows name agents; None where nobody was chosen.

    ``is_input_known`` is False while the input holds templates that are not filled in.
    """

    subject: ScoringSubject
    agent: str | None = None
    is_input_known: bool = True


@dataclass(frozen=True, slots=True)
class Estimate:
    """What one attempt would consume; ``usd`` is in nano-dollars, and None where no price is known."""

    model_calls: int
    tokens: int
    usd: int | None
    wall_ms: int

    def amounts(self) -> dict[Unit, int]:
        known = {} if self.usd is None else {Unit.USD: self.usd}
        return {Unit.MODEL_CALLS: self.model_calls, Unit.TOKENS: self.tokens, Unit.WALL_SECONDS: self.wall_ms, **known}


@dataclass(frozen=True, slots=True)
class Feature:
    """``value`` is from 0 to `FULL`, ``weight`` in hundredths and below 0 where it lowers the score."""

    name: str
    value: int
    weight: int

    @property
    def contribution(self) -> int:
        """In millionths."""
        return self.value * self.weight

    def as_document(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "value": self.value / FULL,
            "weight": self.weight / PERCENT,
            "contribution": self.contribution / (FULL * PERCENT),
        }


@dataclass(frozen=True, slots=True)
class Score:
    """``base``, in hundredths, and all contributions, kept between 0 and 1."""

    base: int
    features: tuple[Feature, ...]

    @property
    def points(self) -> int:
        """From 0 to `FULL`; halves are rounded up."""
        exact = self.base * FULL + sum(feature.contribution for feature in self.features)
        return min(max((exact + PERCENT // 2) // PERCENT, 0), FULL)

    @property
    def value(self) -> float:
        return self.points / FULL

    def as_document(self) -> dict[str, Any]:
        features = [feature.as_document() for feature in self.features]
        return {"value": self.value, "base": self.base / PERCENT, "features": features}


@dataclass(frozen=True, slots=True)
class Scores:
    """``version`` names the formula, which never changes; ``agent_name`` is None where none does it."""

    version: int
    agent_name: str | None
    by_dimension: Mapping[Dimension, Score]
    estimate: Estimate

    def value_of(self, dimension: Dimension) -> float:
        return self.by_dimension[dimension].value

    def as_facts(self) -> dict[str, Any]:
        """As policies see them."""
        values = {f"scores.{name}": score.value for name, score in self.by_dimension.items()}
        return {"scores.available": True, **values}

    def as_document(self) -> dict[str, Any]:
        """As it is stored and answered."""
        amounts = self.estimate.amounts()
        return {
            "scoring_version": self.version,
            "agent": self.agent_name,
            "scores": {name.value: score.as_document() for name, score in self.by_dimension.items()},
            "estimate": {unit.value: shown(unit, amounts[unit]) if unit in amounts else None for unit in Unit},
        }
