"""Verdicts from scores, and how far a judge agrees with people: arithmetic."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.governance.evaluation.agreement import Compared, agreement_of, weighted_kappa
from app.governance.evaluation.models import (
    LONGEST_FEEDBACK,
    CheckResult,
    CriterionResult,
    Subject,
    SubjectFile,
    subject_of,
    verdict_of,
)
from app.setting_evaluation import Criterion, EvaluationRequest, LengthCheck, Rubric

UNITS = st.floats(0, 1, allow_nan=False)
WEIGHTS = st.floats(0.01, 100, allow_nan=False)
GRADES = st.integers(1, 5)


def a_request(*, rubric_weight: float | None = None, **given: Any) -> EvaluationRequest:
    rubric = None
    if rubric_weight is not None:
        rubric = Rubric(criteria=[Criterion(name="style", description="Good.")], weight=rubric_weight)
    return EvaluationRequest(checks=[LengthCheck(type="length", min_words=1)], rubric=rubric, **given)


def a_check(score: float, *, passed: bool = True, weight: float = 1.0, name: str = "length") -> CheckResult:
    return CheckResult(name, passed, score, "" if passed else "too short", weight)


def a_criterion(score: float, *, weight: float = 1.0, name: str = "style") -> CriterionResult:
    return CriterionResult(name, score, f"it is {score}", "a quote", 0.9, weight)


def test_the_score_is_the_mean_of_checks_and_rubric_by_weight() -> None:
    checks = [a_check(1.0, weight=3), a_check(0.5, weight=1)]
    criteria = [a_criterion(0.25, weight=1), a_criterion(1.0, weight=2)]

    verdict = verdict_of(a_request(rubric_weight=4), checks, criteria)

    # Of the rubric (0.25 + 2 x 1) / 3 = 0.75; of all (3 x 1 + 0.5 + 4 x 0.75) / 8.
    assert verdict.score == 0.8125
    assert verdict.passed


@pytest.mark.parametrize(
    ("given", "threshold"),
    [
        ({}, 0.0),
        ({"rubric_weight": 1}, 0.7),
        ({"minimum_score": 0.2}, 0.2),
        ({"rubric_weight": 1, "minimum_score": 0}, 0),
    ],
)
def test_with_a_rubric_a_score_is_needed_by_default(given: dict[str, Any], threshold: float) -> None:
    assert verdict_of(a_request(**given), [a_check(1.0)]).threshold == threshold


@pytest.mark.parametrize(("score", "passed"), [(0.69, False), (0.7, True), (1.0, True)])
def test_a_score_at_the_threshold_is_enough(score: float, passed: bool) -> None:
    assert verdict_of(a_request(minimum_score=0.7), [a_check(score)]).passed is passed


@given(st.lists(st.tuples(UNITS, WEIGHTS), min_size=1, max_size=8), st.lists(st.tuples(UNITS, WEIGHTS), max_size=8))
def test_a_score_lies_between_the_worst_and_the_best_part(
    checks: list[tuple[float, float]], criteria: list[tuple[float, float]]
) -> None:
    parts = [score for score, _ in (*checks, *criteria)]

    verdict = verdict_of(
        a_request(rubric_weight=1),
        [a_check(score, weight=weight) for score, weight in checks],
        [a_criterion(score, weight=weight) for score, weight in criteria],
    )

    assert min(parts) - 1e-3 <= verdict.score <= max(parts) + 1e-3
    assert verdict.passed == (verdict.score >= verdict.threshold)


@given(UNITS, WEIGHTS)
def test_no_judgement_of_a_model_saves_what_a_check_refuses(score: float, weight: float) -> None:
    refused = a_check(score, passed=False, weight=0.01)

    verdict = verdict_of(a_request(rubric_weight=weight, minimum_score=0), [refused], [a_criterion(1.0)])

    assert not verdict.passed
    assert verdict.failing == ["length"]


def test_feedback_says_what_to_do_better_and_is_bounded() -> None:
    failed = verdict_of(a_request(), [a_check(0.0, passed=False), a_check(1.0, name="no_secrets")])
    weak = verdict_of(a_request(rubric_weight=1), [], [a_criterion(0.25), a_criterion(1.0, name="facts")])
    low = verdict_of(a_request(minimum_score=0.9), [a_check(0.5)])
    long = verdict_of(a_request(), [CheckResult("x", False, 0.0, "y" * 9000)])

    assert failed.feedback == "length: too short"
    assert weak.feedback == "style: it is 0.25"
    assert (low.feedback, low.failing) == ("the score 0.50 is below 0.90", ["score"])
    assert len(long.feedback) == LONGEST_FEEDBACK


def test_a_subject_is_read_from_a_result_of_which_much_may_be_missing() -> None:
    whole = {
        "raw_output": "text",
        "data": {"a": 1},
        "citations": [{"url": "https://example.com"}],
        "files": [{"path": "a.py", "content": "x = 1", "language": "python"}, {"path": "b", "content": ""}],
    }

    files = (SubjectFile("a.py", "x = 1", "python"), SubjectFile("b", ""))
    assert subject_of("task", whole) == Subject("task", "text", {"a": 1}, ("https://example.com",), files)
    assert subject_of("task", {}) == Subject("task", "")


def compared(*pairs: tuple[int, int | None]) -> list[Compared]:
    return [Compared(f"cases.jsonl:{place}", "style", *pair) for place, pair in enumerate(pairs, start=1)]


def test_agreement_is_counted_over_all_cases_and_bias_over_those_with_a_score() -> None:
    found = agreement_of("style", compared((5, 5), (4, 3), (1, 3), (2, None)))

    assert (found.cases, found.exact, found.within_one) == (4, 0.25, 0.5)
    assert found.bias == pytest.approx(1 / 3)


def test_kappa_is_the_one_of_the_literature() -> None:
    # By hand: squared distances of 0, 0, 1 and 4, and of every label with every score 26 + 26 + 10 + 14.
    assert weighted_kappa([(1, 1), (5, 5), (3, 2), (2, 4)]) == pytest.approx(1 - 4 * 5 / 76)
    assert weighted_kappa([(1, 1), (5, 5)]) == 1
    assert weighted_kappa([(1, 5), (5, 1)]) == -1
    assert weighted_kappa([(1, 3), (2, 3), (4, 3), (5, 3)]) == 0
    assert weighted_kappa([(4, 4), (4, 4)]) is None
    assert weighted_kappa([]) is None


@given(st.lists(st.tuples(GRADES, GRADES), min_size=1, max_size=30))
def test_kappa_is_never_above_one_and_the_same_from_both_sides(pairs: list[tuple[int, int]]) -> None:
    kappa = weighted_kappa(pairs)

    if kappa is not None:
        assert kappa <= 1
        assert weighted_kappa([(given, labelled) for labelled, given in pairs]) == pytest.approx(kappa)
        assert (kappa == 1) == all(labelled == given for labelled, given in pairs)
