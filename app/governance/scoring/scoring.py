"""The formulas: one table per version, and a function. Pure, and the same everywhere and for ever.

Each score is its base and the sum of its features' values times their weights, kept between 0 and 1.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from app.governance.scoring import measures
from app.governance.scoring.measures import Case
from app.governance.scoring.models import Dimension, Feature, Score, Scores, ScoringSubject

CURRENT_VERSION = 1


@dataclass(frozen=True, slots=True)
class Term:
    """``weight`` is in hundredths."""

    weight: int
    measure: Callable[[Case], int]

    @property
    def name(self) -> str:
        return self.measure.__name__


@dataclass(frozen=True, slots=True)
class Formula:
    """``base`` is in hundredths."""

    base: int
    terms: tuple[Term, ...]


# What a version says stays as it is: scores are stored, and policies hold on to them.
VERSIONS: Mapping[int, Mapping[Dimension, Formula]] = {
    1: {
        Dimension.FEASIBILITY: Formula(
            100,
            (
                Term(-20, measures.vague),
                Term(-20, measures.long),
                Term(-30, measures.nobody),
                Term(-60, measures.input_unfit),
                Term(-25, measures.acts_without_tools),
                Term(-60, measures.budget_short),
                Term(-80, measures.price_unknown),
                Term(-50, measures.deadline_short),
            ),
        ),
        Dimension.ALIGNMENT: Formula(
            0,
            (
                Term(50, measures.abilities),
                Term(25, measures.input_fits),
                Term(15, measures.intent),
                Term(10, measures.agent_named),
            ),
        ),
        Dimension.RISK: Formula(
            0,
            (
                Term(20, measures.acting_tools),
                Term(5, measures.reading_tools),
                Term(15, measures.acting_words),
                Term(30, measures.destroying_words),
                Term(10, measures.privileged_words),
                Term(30, measures.overriding),
                Term(40, measures.keys),
                Term(40, measures.card_numbers),
                Term(15, measures.addresses),
                Term(20, measures.secrets),
                Term(30, measures.command),
                Term(25, measures.interpreter),
                Term(10, measures.depth),
                Term(20, measures.unexamined),
            ),
        ),
        Dimension.COST: Formula(
            0,
            (
                Term(50, measures.usd),
                Term(20, measures.tokens),
                Term(15, measures.model_calls),
                Term(15, measures.wall_seconds),
            ),
        ),
    }
}


def score(subject: ScoringSubject, *, version: int = CURRENT_VERSION) -> Scores:
    """By the formulas of a version; nothing else than the subject has a say."""
    case = Case(subject)
    return Scores(
        version,
        subject.agent.name if subject.agent else None,
        {dimension: _applied(formula, case) for dimension, formula in VERSIONS[version].items()},
        case.estimate,
    )


def alignment_of(subject: ScoringSubject, *, version: int = CURRENT_VERSION) -> Score:
    """That score alone, for choosing among agents."""
    return _applied(VERSIONS[version][Dimension.ALIGNMENT], Case(subject))


def _applied(formula: Formula, case: Case) -> Score:
    return Score(formula.base, tuple(Feature(term.name, term.measure(case), term.weight) for term in formula.terms))
