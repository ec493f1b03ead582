"""The people a run may need, as the command line stands in for them: answers given beforehand, else a terminal."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from app.errors import ExecutionError
from app.workflows.language.contracts import Contracts


class ApprovalRejected(ExecutionError):
    code = "APPROVAL_REJECTED"
    title = "Approval rejected"


class ApprovalExpired(ExecutionError):
    code = "APPROVAL_EXPIRED"
    title = "Approval expired"


class NobodyThere(Exception):
    """Nobody can answer now; ``waits_for`` says what is needed, and the run can be resumed with it."""

    def __init__(self, waits_for: Mapping[str, Any]) -> None:
        super().__init__(str(waits_for.get("what")))
        self.waits_for = dict(waits_for)


@dataclass(frozen=True, slots=True)
class Approval:
    """An answer; ``form`` has the fields that the approver filled in."""

    approved: bool
    by: str
    comment: str = ""
    form: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Question:
    """What an approver is asked; ``approvers`` and ``quorum`` are told, and not kept by a run without a server."""

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


AskApproval = Callable[[Question], Awaitable[Approval]]
AskEvent = Callable[[Awaited], Awaitable[Any]]


class People:
    """``approvals`` are by step, ``events`` by name or by `name@key`. A terminal answers one question at a time."""

    def __init__(
        self,
        approvals: Mapping[str, Approval] | None = None,
        events: Mapping[str, Any] | None = None,
        *,
        ask_approval: AskApproval | None = None,
        ask_event: AskEvent | None = None,
    ) -> None:
        self._approvals = approvals or {}
        self._events = events or {}
        self._ask_approval = ask_approval
        self._ask_event = ask_event
        self._turn = asyncio.Lock()

    async def approval(self, question: Question) -> Approval:
        """Raises `NobodyThere`."""
        step = question.path.rpartition(".")[2].partition("[")[0]
        for name in (question.path, step):
            if name in self._approvals:
                return self._approvals[name]
        if self._ask_approval is None:
            raise NobodyThere({"what": "approval", "message": question.message, "approvers": list(question.approvers)})
        async with self._turn:
            return await self._ask_approval(question)

    async def event(self, awaited: Awaited) -> Any:
        """What the event brings. Raises `NobodyThere`."""
        for name in (f"{awaited.event}@{awaited.key}", awaited.event):
            if name in self._events:
                return self._events[name]
        if self._ask_event is None:
            raise NobodyThere({"what": "event", "event": awaited.event, "key": awaited.key})
        async with self._turn:
            return await self._ask_event(awaited)
