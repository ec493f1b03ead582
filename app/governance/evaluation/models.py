"""What is evaluated and what an evaluation finds."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from app.setting_evaluation import EvaluationRequest

LONGEST_FEEDBACK = 2000
# The scale on which people and models score.
WORST, BEST = 1, 5
# How runs call who evaluates, and where their input has how.
EVALUATOR, EVALUATOR_ROLE = "Evaluator", "evaluator"
EVALUATION = "evaluation"


@dataclass(frozen=True, slots=True)
class SubjectFile:
    path: str
    content: str
    language: str | None = None


@dataclass(frozen=True, slots=True)
class Subject:
    """What is evaluated; ``urls`` are those of its citations, in their order."""

    task: str
    text: str
    data: Any = None
    urls: tuple[str, ...] = ()
    files: tuple[SubjectFile, ...] = ()

    @property
    def texts(self) -> tuple[str, ...]:
        """Everything that is in the output."""
        data = () if self.data is None else (json.dumps(self.data, ensure_ascii=False, default=str),)
        return (self.text, *(file.content for file in self.files), *data)


def subject_of(task: str, result: Mapping[str, Any]) -> Subject:
    """From a result as plain JSON data, of which everything but the answer may be left out."""
    files = [SubjectFile(one["path"], one["content"], one.get("language")) for one in result.get("files") or ()]
    urls = [one["url"] for one in result.get("citations") or ()]
    return Subject(task, result.get("raw_output") or "", result.get("data"), tuple(urls), tuple(files))


@dataclass(frozen=True, slots=True)
class CheckResult:
    """``score`` is from 0 to 1; ``message`` says to the writer what is wrong, in a sentence, and never quotes much."""

    name: str
    passed: bool
    score: float
    message: str
    weight: float = 1.0
    details: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class CriterionResult:
    """A model's judgement, ``score`` from 0 (worst) to 1; ``quote`` is in the output, word for word."""

    name: str
    score: float
    reason: str
    quote: str
    confidence: float
    weight: float = 1.0


@dataclass(frozen=True, slots=True)
class Verdict:
    """``score`` is the weighted mean of the checks and the rubric, 1 when nothing was scored."""

    passed: bool
    score: float
    threshold: float
    checks: tuple[CheckResult, ...] = ()
    criteria: tuple[CriterionResult, ...] = ()

    @property
    def feedback(self) -> str:
        """For the agent: what to do better."""
        failed = [f"{check.name}: {check.message}" for check in self.checks if not check.passed]
        weak = [f"{one.name}: {one.reason}" for one in self.criteria if one.score < self.threshold]
        return (
            "; ".join(failed + weak)[:LONGEST_FEEDBACK] or f"the score {self.score:.2f} is below {self.threshold:.2f}"
        )

    @property
    def failing(self) -> list[str]:
        """Names of what did not pass, for messages: never a word of the output."""
        failed = [check.name for check in self.checks if not check.passed]
        return failed or [one.name for one in self.criteria if one.score < self.threshold] or ["score"]

    def as_json(self) -> dict[str, Any]:
        return {
            "passed": self.passed,
            "score": self.score,
            "threshold": self.threshold,
            "checks": [asdict(check) for check in self.checks],
            "criteria": [asdict(one) for one in self.criteria],
        }


def verdict_of(
    request: EvaluationRequest, checks: Sequence[CheckResult], criteria: Sequence[CriterionResult] = ()
) -> Verdict:
    """Every check has to pass, and the score to reach the threshold. Pure."""
    parts = [(check.score, check.weight) for check in checks]
    if criteria and request.rubric:
        parts.append((_mean([(one.score, one.weight) for one in criteria]), request.rubric.weight))
    score = round(_mean(parts), 4)
    passed = all(check.passed for check in checks) and score >= request.threshold
    return Verdict(passed, score, request.threshold, tuple(checks), tuple(criteria))


def _mean(parts: Sequence[tuple[float, float]]) -> float:
    total = sum(weight for _, weight in parts)
    return sum(score * weight for score, weight in parts) / total if total else 1.0
