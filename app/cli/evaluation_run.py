"""Evaluates outputs with the configured model. Heavy: it loads the agents' parsers and the providers' SDKs."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from app.bootstrap.evaluating import evaluating
from app.errors import ExecutionError, Unavailable
from app.governance.evaluation.agreement import Compared, LabelledOutput
from app.governance.evaluation.judge import grade_of, judge
from app.governance.evaluation.models import Subject, Verdict
from app.llm.errors import LlmAuth
from app.llm.messages import Chat
from app.setting_evaluation import EvaluationRequest, Rubric
from app.settings import Settings


class NotEvaluated(Unavailable):
    """The model or an evaluator failed, so that nothing is known of the output."""

    code = "NOT_EVALUATED"
    title = "Not evaluated"


@dataclass(frozen=True, slots=True)
class Evaluated:
    verdict: Verdict
    tokens: int
    usd: float


@dataclass(frozen=True, slots=True)
class Calibration:
    compared: Sequence[Compared]
    tokens: int
    usd: float


async def evaluate_output(settings: Settings, wanted: EvaluationRequest, subject: Subject) -> Evaluated:
    """Raises `NotEvaluated`."""
    async with evaluating(settings) as tools:
        try:
            verdict = await tools.evaluator.evaluate(wanted, subject, tools.chat)
        except ExecutionError as error:
            raise NotEvaluated(f"it could not be evaluated: {error.code}: {error.message}") from error
        return Evaluated(verdict, tools.meter.usage.total, tools.meter.usd)


async def calibrate(
    settings: Settings,
    rubric: Rubric,
    cases: Sequence[LabelledOutput],
    *,
    concurrency: int,
    on_progress: Callable[[], None],
) -> Calibration:
    """Have each output judged as a worker would, so many at a time. A verdict that cannot be used is a wrong one.

    Raises `NotEvaluated` when the model cannot be asked at all.
    """
    slots = asyncio.Semaphore(concurrency)
    async with evaluating(settings) as tools:

        async def compared(case: LabelledOutput) -> list[Compared]:
            async with slots:
                found = await _compare(tools.chat, rubric, case)
            on_progress()
            return found

        found = await asyncio.gather(*map(compared, cases))
        return Calibration([one for case in found for one in case], tools.meter.usage.total, tools.meter.usd)


async def _compare(chat: Chat, rubric: Rubric, case: LabelledOutput) -> list[Compared]:
    try:
        judged = {one.name: one for one in await judge(chat, rubric, Subject(case.task, case.output))}
    except LlmAuth as error:
        # No case would fare better.
        raise NotEvaluated(f"the model cannot be asked: {error.message}") from error
    except ExecutionError as error:
        return [Compared(case.place, name, score, None, error.code) for name, score in case.scores.items()]
    return [
        Compared(case.place, name, score, grade_of(judged[name]), judged[name].reason)
        for name, score in case.scores.items()
    ]
