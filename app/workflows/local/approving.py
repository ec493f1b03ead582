"""Approvals in a run on one's own machine: those that a workflow declares, and those that a policy wants."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime, timedelta
from typing import Any, TypeVar

from app.clock import Clock
from app.governance.approvals.terms import ApprovalTerms
from app.workflows.language.models import ApprovalSpec
from app.workflows.local.people import NobodyThere, People, Question
from app.workflows.steps.approvals import Approval, accepted, answered, expired

T = TypeVar("T")
Note = Callable[..., object]


class Approving:
    """``note`` writes to the journal."""

    def __init__(self, people: People, note: Note, *, clock: Clock) -> None:
        self._people = people
        self._note = note
        self._clock = clock

    async def decided(
        self, path: str, question: Question, terms: ApprovalSpec | ApprovalTerms, *, rule: str | None = None
    ) -> dict[str, Any]:
        """The answer as an output. ``rule`` is that of the policy that asks.

        Raises `NobodyThere`, `Invalid` for a form that does not fit, `ApprovalRejected` and `ApprovalExpired`.
        """
        try:
            answers = await self.in_time(self._people.approval(question), question.expires_at)
        except TimeoutError:
            answers = [expired(terms)]
        # A rejection decides, else the last approval.
        decisive = next((one for one in answers if not one.approved), answers[-1])
        output = answered(path, question.form, decisive)
        self._note_all(question, answers, rule)
        return accepted(path, output)

    def given(self, question: Question) -> Sequence[Approval]:
        """What was answered beforehand."""
        return self._people.given(question.path)

    async def in_time(self, answer: Awaitable[T], due_at: datetime | None) -> T:
        """Raises `TimeoutError` also when there is nobody, and the time was over before."""
        try:
            async with asyncio.timeout(_seconds_until(due_at, self._clock())):
                return await answer
        except NobodyThere as error:
            if due_at is None or self._clock() < due_at:
                raise
            raise TimeoutError from error

    def _note_all(self, question: Question, answers: Sequence[Approval], rule: str | None) -> None:
        by_policy = {} if rule is None else {"rule": rule}
        for one in answers:
            told = {"approved": one.approved, "by": one.by, "comment": one.comment}
            self._note("approval.given", path=question.path, **told, **by_policy)


def _seconds_until(moment: datetime | None, now: datetime) -> float | None:
    return None if moment is None else max((moment - now) / timedelta(seconds=1), 0)
