"""How well a router does on tasks whose agent is known: accuracy, precision and recall, confusion. Pure."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from app.agents.routing import UNKNOWN

# No agent's name, so that a call that failed is never a right answer.
NO_ANSWER = "(none)"


@dataclass(frozen=True, slots=True)
class RoutingCase:
    """A task and the agent it belongs to, `Unknown` for none. ``place`` says where it was read."""

    task: str
    expected: str
    inputs: Mapping[str, Any] = field(default_factory=dict)
    tags: tuple[str, ...] = ()
    place: str = ""


@dataclass(frozen=True, slots=True)
class Judged:
    """What became of a case.

    ``predicted`` is `Unknown` for what would go nowhere and `NO_ANSWER` for what could not be asked; ``rule`` is what
    decided that, or the error's code.
    """

    case: RoutingCase
    predicted: str
    confidence: float
    rule: str
    reasoning: str

    @property
    def is_right(self) -> bool:
        return self.predicted == self.case.expected


@dataclass(frozen=True, slots=True)
class ClassScores:
    """Of one agent: the share of its predictions that are right, and the share of its ``cases`` that were found.

    None where there is nothing to divide by.
    """

    name: str
    precision: float | None
    recall: float | None
    cases: int


@dataclass(frozen=True, slots=True)
class Accuracy:
    judged: Sequence[Judged]

    @property
    def share(self) -> float:
        """Of the cases that are right, from 0 to 1; there must be some."""
        return sum(one.is_right for one in self.judged) / len(self.judged)

    @property
    def wrong(self) -> list[Judged]:
        return [one for one in self.judged if not one.is_right]

    @property
    def names(self) -> list[str]:
        """The agents that were expected or predicted, `Unknown` last."""
        found = {name for one in self.judged for name in (one.case.expected, one.predicted)}
        return sorted(found, key=lambda name: (name == UNKNOWN, name))

    @property
    def confusion(self) -> dict[str, dict[str, int]]:
        """How often each agent was predicted, by the agent that was expected."""
        pairs = Counter((one.case.expected, one.predicted) for one in self.judged)
        return {expected: {name: pairs[expected, name] for name in self.names} for expected in self.names}

    @property
    def classes(self) -> list[ClassScores]:
        return [self._scores(name) for name in self.names]

    @property
    def by_tag(self) -> dict[str, float]:
        """The share of right cases among those with each tag."""
        right, cases = Counter[str](), Counter[str]()
        for one in self.judged:
            cases.update(one.case.tags)
            right.update(one.case.tags if one.is_right else ())
        return {tag: right[tag] / cases[tag] for tag in sorted(cases)}

    def _scores(self, name: str) -> ClassScores:
        hits = sum(one.is_right for one in self.judged if one.predicted == name)
        predicted = sum(one.predicted == name for one in self.judged)
        cases = sum(one.case.expected == name for one in self.judged)
        return ClassScores(name, hits / predicted if predicted else None, hits / cases if cases else None, cases)
