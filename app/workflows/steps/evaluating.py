"""The `evaluate` step: a verdict on the output of a step, which may have that step try again."""

from collections.abc import Awaitable, Callable
from typing import Any

from app.errors import Invalid
from app.governance.evaluation.evaluator import EvaluationFailed
from app.governance.evaluation.models import Verdict
from app.setting_evaluation import EvaluationRequest
from app.workflows.language.models import EvaluateSpec

Judge = Callable[[EvaluationRequest, Any], Awaitable[Verdict]]
# The evaluated step once more, told what was wrong.
Again = Callable[[str], Awaitable[dict[str, Any]]]


async def evaluated(spec: EvaluateSpec, output: Any, judge: Judge, again: Again) -> dict[str, Any]:
    """What the step gives. Raises `EvaluationFailed`, with that as its detail, unless it passed or is to be flagged."""
    wanted = request_of(spec)
    verdict, rounds = await judge(wanted, output), 1
    while spec.on_fail == "retry" and not verdict.passed and rounds <= spec.max_rounds:
        output = await again(verdict.feedback)
        verdict, rounds = await judge(wanted, output), rounds + 1
    result = {**verdict.as_json(), "rounds": rounds, "output": output}
    if not verdict.passed and spec.on_fail != "flag":
        failing = ", ".join(verdict.failing)
        message = f"{spec.step} scored {verdict.score:.2f} of {verdict.threshold:.2f} needed: {failing}"
        raise EvaluationFailed(message, output=result)
    return result


def request_of(spec: EvaluateSpec) -> EvaluationRequest:
    wanted = {"checks": spec.checks, "rubric": spec.rubric, "minimum_score": spec.threshold, "retries": 0}
    return EvaluationRequest.model_validate(wanted)


def cannot_be_asked_again(name: str) -> Invalid:
    return Invalid(f"{name!r} cannot be asked again: `on_fail: retry` is for an agent or a task")
