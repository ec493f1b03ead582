"""Evaluates an output as it is asked for: checks first, then evaluators of packages, the model last."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from app.errors import ExecutionError
from app.governance.evaluation.checks import check, failed, passed
from app.governance.evaluation.judge import judge
from app.governance.evaluation.models import CheckResult, Subject, SubjectFile, Verdict, verdict_of
from app.governance.evaluation.plugins import Evaluators
from app.llm.messages import Chat
from app.setting_evaluation import Check, CodeCheck, CustomCheck, EvaluationRequest


@dataclass(frozen=True, slots=True)
class Parsed:
    """What a parser says of one file; ``ok`` is None when nobody here reads its language."""

    path: str
    ok: bool | None
    problem: str = ""


# Parses files in their languages, and fenced blocks of a text when there are no files; it runs none.
ParseCode = Callable[[Sequence[SubjectFile], str], Awaitable[Sequence[Parsed]]]


class EvaluationFailed(ExecutionError):
    """The output did not pass, and the task asked to fail then; the message names the checks and no word of it."""

    code = "EVALUATION_FAILED"
    title = "Output failed its evaluation"


class Evaluator:
    """One per worker process."""

    def __init__(self, evaluators: Evaluators, parse: ParseCode) -> None:
        self._evaluators = evaluators
        self._parse = parse

    async def evaluate(self, request: EvaluationRequest, subject: Subject, chat: Chat) -> Verdict:
        """Raises `EvaluatorUnusable`, or what a model call raises.

        The model is not asked about an output that a check refuses: its score could not save it.
        """
        results = [await self._result(wanted, subject) for wanted in request.checks]
        if request.rubric is None or not all(result.passed for result in results):
            return verdict_of(request, results)
        return verdict_of(request, results, await judge(chat, request.rubric, subject))

    async def _result(self, wanted: Check, subject: Subject) -> CheckResult:
        if isinstance(wanted, CustomCheck):
            return await self._custom(wanted, subject)
        if isinstance(wanted, CodeCheck):
            return await self._code(wanted, subject)
        # Long texts take a moment, and so does loading what knows languages.
        return await asyncio.to_thread(check, wanted, subject)

    async def _custom(self, wanted: CustomCheck, subject: Subject) -> CheckResult:
        given = await self._evaluators.score(wanted.name, subject, wanted.options)
        return CheckResult(wanted.name, bool(given.passed), given.score, given.message, wanted.weight)

    async def _code(self, wanted: CodeCheck, subject: Subject) -> CheckResult:
        parsed = await self._parse(subject.files, subject.text)
        if not parsed:
            return failed(wanted, "there is no code in it")
        if broken := [one for one in parsed if one.ok is False]:
            told = "; ".join(f"{one.path}: {one.problem}" for one in broken[:3])
            return failed(wanted, f"it does not parse: {told}", score=1 - len(broken) / len(parsed))
        return passed(wanted, files=len(parsed), unread=sum(one.ok is None for one in parsed))
