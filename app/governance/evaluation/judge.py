"""A model judges an output by a rubric: a score per criterion on an anchored scale, with evidence that is checked."""

import asyncio
import html
import statistics
from collections.abc import Sequence

from pydantic import BaseModel, ConfigDict, Field

from app.agents.content.characters import visible
from app.agents.prompt import load_prompt
from app.governance.evaluation.models import BEST, WORST, CriterionResult, Subject
from app.governance.evaluation.texts import comparable
from app.llm.errors import AgentOutputInvalid
from app.llm.messages import Chat, Message, correction
from app.llm.usage import ModelRole
from app.setting_evaluation import Criterion, Rubric

LONGEST_JUDGED = 40_000
LONGEST_REASON = 300
LONGEST_QUOTE = 400
# How often a judge that breaks the rules of its answer is told so.
CORRECTIONS = 1
# Made into those that are escaped then: to a model they may be the same.
_BRACKETS = str.maketrans("＜﹤＞﹥＆﹠", "<<>>&&")
# From here on a score claims that something good is there, which can be shown.
NEEDS_EVIDENCE = 3


class CriterionVerdict(BaseModel):
    """The judgement of one criterion."""

    model_config = ConfigDict(frozen=True, hide_input_in_errors=True)

    name: str = Field(description="The criterion's name, as given.")
    reason: str = Field(description="One sentence that names what decided, before the score.")
    quote: str = Field(description="The words of the output that show it, verbatim; empty when nothing is there.")
    score: int = Field(description="1 to 5, as the scale says.")
    confidence: float = Field(description="How sure you are, from 0 to 1.")


class RubricVerdict(BaseModel):
    """The judgement of every criterion of a rubric, in its order."""

    model_config = ConfigDict(frozen=True, hide_input_in_errors=True)

    criteria: list[CriterionVerdict]


async def judge(chat: Chat, rubric: Rubric, subject: Subject) -> list[CriterionResult]:
    """One result per criterion, in order. Raises what a model call raises.

    Several samples are asked for at once, and the median counts: an outlier changes nothing.
    """
    samples = await asyncio.gather(*(_sample(chat, rubric, subject) for _ in range(rubric.samples)))
    judged = zip(rubric.criteria, zip(*samples, strict=True), strict=True)
    return [_median(criterion, verdicts) for criterion, verdicts in judged]


def rubric_messages(rubric: Rubric, subject: Subject) -> tuple[Message, Message]:
    material = load_prompt("evaluator_material").render(
        task=html.escape(_shown(subject.task[:LONGEST_JUDGED]), quote=False),
        criteria="\n".join(_tag(criterion) for criterion in rubric.criteria),
        output=html.escape(_judged(subject), quote=False),
    )
    return Message("system", load_prompt("evaluator").render()), Message("user", material)


async def _sample(chat: Chat, rubric: Rubric, subject: Subject) -> list[CriterionVerdict]:
    messages: tuple[Message, ...] = rubric_messages(rubric, subject)
    for left in reversed(range(CORRECTIONS + 1)):
        answer = await chat.structured(ModelRole.EVALUATOR, messages, RubricVerdict)
        try:
            return _checked(answer.value, rubric, _judged(subject))
        except AgentOutputInvalid as error:
            if not left:
                raise
            messages = (*messages, correction(error.message))
    raise AssertionError("the last round returns or raises")


def _checked(verdict: RubricVerdict, rubric: Rubric, output: str) -> list[CriterionVerdict]:
    """Raises `AgentOutputInvalid` when the judge left something out, made something up or quotes what is not there."""
    names = [criterion.name for criterion in rubric.criteria]
    if [one.name for one in verdict.criteria] != names:
        raise AgentOutputInvalid(f"the verdict must judge exactly these criteria, in this order: {', '.join(names)}")
    said = comparable(output)
    for one in verdict.criteria:
        if not WORST <= one.score <= BEST or not 0 <= one.confidence <= 1:
            raise AgentOutputInvalid(f"criterion {one.name}: scores go from 1 to 5, and confidence from 0 to 1")
        if one.score >= NEEDS_EVIDENCE and not one.quote.strip():
            raise AgentOutputInvalid(f"criterion {one.name}: a score of {one.score} needs a quote from the output")
        if not _is_said(one.quote, said):
            raise AgentOutputInvalid(f"criterion {one.name}: the quote is not in the output, word for word")
    return list(verdict.criteria)


def _is_said(quote: str, said: str) -> bool:
    # The model sees escaped characters and may quote them as it sees them.
    return comparable(quote) in said or comparable(html.unescape(quote)) in said


def _median(criterion: Criterion, samples: Sequence[CriterionVerdict]) -> CriterionResult:
    # The lower of the two in the middle: in doubt an output is not better than it is.
    middle = statistics.median_low(sample.score for sample in samples)
    told = next(sample for sample in samples if sample.score == middle)
    return CriterionResult(
        criterion.name,
        (middle - WORST) / (BEST - WORST),
        " ".join(told.reason.split())[:LONGEST_REASON],
        told.quote[:LONGEST_QUOTE],
        round(statistics.fmean(sample.confidence for sample in samples), 4),
        criterion.weight,
    )


def _judged(subject: Subject) -> str:
    """The beginning and the end of what is too long to be judged whole."""
    if len(subject.text) <= LONGEST_JUDGED:
        return _shown(subject.text)
    half = LONGEST_JUDGED // 2
    return f"{_shown(subject.text[:half])}\n…\n{_shown(subject.text[-half:])}"


def _shown(text: str) -> str:
    """Without what no reader sees, and with brackets that only look like those of a tag made into real ones."""
    return visible(text).translate(_BRACKETS)


def grade_of(result: CriterionResult) -> int:
    """The score as the model gave it, from 1 to 5."""
    return round(WORST + result.score * (BEST - WORST))


def _tag(criterion: Criterion) -> str:
    described = html.escape(criterion.description, quote=False)
    return f'<criterion name="{html.escape(criterion.name)}">{described}</criterion>'
