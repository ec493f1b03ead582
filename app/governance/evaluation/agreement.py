"""How far a judge agrees with people who scored the same outputs. Pure."""

import statistics
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class LabelledOutput:
    """An output with a person's scores from 1 to 5 by criterion; ``place`` is the line it is from."""

    place: str
    task: str
    output: str
    scores: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Compared:
    """One score of a person and the judge's; ``given`` is None when it gave no verdict that could be used."""

    place: str
    criterion: str
    labelled: int
    given: int | None
    reason: str = ""


@dataclass(frozen=True, slots=True)
class CriterionAgreement:
    """``exact`` and ``within_one`` are shares of all cases; ``bias`` is how much higher the judge scores on average.

    ``kappa`` is Cohen's with quadratic weights: 1 for full agreement, 0 for what chance would give. It is None, as is
    the bias, where it says nothing: without scores, or when everybody gave the same one.
    """

    criterion: str
    cases: int
    exact: float
    within_one: float
    kappa: float | None
    bias: float | None


def agreement_of(criterion: str, compared: Sequence[Compared]) -> CriterionAgreement:
    """Of these scores, at least one, which ``criterion`` names. A verdict that is missing agrees with nothing."""
    pairs = [(one.labelled, one.given) for one in compared if one.given is not None]
    gaps = [given - labelled for labelled, given in pairs]
    total = len(compared)
    return CriterionAgreement(
        criterion,
        total,
        sum(gap == 0 for gap in gaps) / total,
        sum(abs(gap) <= 1 for gap in gaps) / total,
        weighted_kappa(pairs),
        statistics.fmean(gaps) if gaps else None,
    )


def weighted_kappa(pairs: Sequence[tuple[int, int]]) -> float | None:
    """Cohen, "Weighted kappa" (1968), with squared distances as weights."""
    labelled, given = Counter(one for one, _ in pairs), Counter(one for _, one in pairs)
    by_chance = sum(labelled[i] * given[j] * (i - j) ** 2 for i in labelled for j in given)
    if not by_chance:
        return None
    seen = sum((i - j) ** 2 for i, j in pairs)
    return 1 - seen * len(pairs) / by_chance
