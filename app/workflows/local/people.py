"""The people a run may need, as the command line stands in for them: answers given beforehand, else a terminal.

Who they are is what they say: nobody proves it to a run on one's own machine.
"""

import asyncio
import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from app.contracts import Contracts
from app.workflows.steps.approvals import Approval


class NobodyThere(Exception):
    """Nobody can answer now; ``waits_for`` says what is needed, and the run can be resumed with it."""

    def __init__(self, waits_for: Mapping[str, Any]) -> None:
        super().__init__(str(waits_for.get("what")))
        self.waits_for = dict(waits_for)


@dataclass(frozen=True, slots=True)
class Question:
    """What approvers are asked; ``quorum`` of them have to approve."""

    path: str
    message: str
    form: Contracts
    approvers: tuple[str, ...]
    quorum: int
    expires_at: datetime | None


@dataclass(frozen=True, slots=True)
class Awaited:
    """An event from outside, with its correlation key."""

    path: str
    event: str
    key: str | None


_PLACES = re.compile(r"\[\d+\]")

# Asks one more person; the names are of those who have answered.
AskApproval = Callable[[Question, Sequence[str]], Awaitable[Approval]]
AskEvent = Callable[[Awaited], Awaitable[Any]]


class People:
    """``approvals`` are by step, one for each person; ``events`` by name or by `name@key`.

    A terminal answers one question at a time.
    """

    def __init__(
        self,
        approvals: Mapping[str, Sequence[Approval]] | None = None,
        events: Mapping[str, Any] | None = None,
        *,
        ask_approval: AskApproval | None = None,
        ask_event: AskEvent | None = None,
    ) -> None:
        self.approvals = approvals or {}
        self._events = events or {}
        self._ask_approval = ask_approval
        self._ask_event = ask_event
        self._turn = asyncio.Lock()

    async def approval(self, question: Question) -> Sequence[Approval]:
        """The answers that decide it; the last one did. Raises `NobodyThere`."""
        answers = self.given(question.path)
        ask = self._ask_approval
        if ask is None and not is_decided(answers, question.quorum):
            asked = {"message": question.message, "approvers": list(question.approvers), "quorum": question.quorum}
            raise NobodyThere({"what": "approval", "answer": question.path, **asked})
        async with self._turn:
            while ask is not None and not is_decided(answers, question.quorum):
                answers.append(await ask(question, [one.by for one in answers]))
        return answers

    def given(self, path: str) -> list[Approval]:
        """What was answered beforehand; a call of a tool is a part of its step, behind an `@`."""
        step, at, call = path.partition("@")
        names = (path, f"{step_of(step)}{at}{call}", f"{step_of(step).rpartition('.')[2]}{at}{call}")
        return next((list(self.approvals[name]) for name in names if name in self.approvals), [])

    async def event(self, awaited: Awaited) -> Any:
        """What the event brings. Raises `NobodyThere`."""
        for name in (f"{awaited.event}@{awaited.key}", awaited.event):
            if name in self._events:
                return self._events[name]
        if self._ask_event is None:
            raise NobodyThere({"what": "event", "event": awaited.event, "key": awaited.key})
        async with self._turn:
            return await self._ask_event(awaited)


def step_of(path: str) -> str:
    """The path without the numbers of items and iterations."""
    return _PLACES.sub("", path)


def is_decided(answers: Sequence[Approval], quorum: int) -> bool:
    """One rejection is enough."""
    return len(answers) >= quorum or any(not one.approved for one in answers)
