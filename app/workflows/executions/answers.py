"""Answers of people to steps that wait for an approval: each vote is one write, and the deciding one ends the step."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from app.clock import Clock
from app.database.documents import Document
from app.errors import Conflict, Invalid, NotPermitted
from app.events.signals import Signals
from app.identity.principals import Principal
from app.jobs.store import WAITING
from app.settings import Role
from app.workflows.executions.conclusions import Conclusions
from app.workflows.executions.listing import status_of_step
from app.workflows.executions.models import ExecutionFinished, StepNotWaiting, Waits
from app.workflows.executions.repository import ExecutionRepository
from app.workflows.executions.waking import Waker
from app.workflows.planner import End
from app.workflows.steps.approvals import Approval, ApprovalRejected, answered
from app.workflows.view import Ended, Fault

# Each round is lost only to the vote of somebody else in between.
_ROUNDS = 10


class AlreadyVoted(Conflict):
    code = "ALREADY_VOTED"
    title = "Already voted"


@dataclass(frozen=True, slots=True)
class Answer:
    """``form`` has the fields that the approver filled in."""

    approved: bool
    comment: str = ""
    form: Mapping[str, Any] = field(default_factory=dict)

    def as_vote(self, by: str, at: datetime) -> dict[str, Any]:
        return {"by": by, "approved": self.approved, "comment": self.comment, "at": at}


class Answers:
    def __init__(
        self,
        repository: ExecutionRepository,
        conclusions: Conclusions,
        waker: Waker,
        signals: Signals,
        *,
        clock: Clock,
    ) -> None:
        self._repository = repository
        self._conclusions = conclusions
        self._waker = waker
        self._signals = signals
        self._clock = clock

    async def give(self, principal: Principal, execution_id: str, path: str, answer: Answer) -> Document:
        """The step after this vote. A rejection ends it at once, an approval when the quorum is reached.

        Raises `StepNotWaiting`, `AlreadyVoted`, `NotPermitted`, and `Invalid` for a form that does not fit.
        """
        for _ in range(_ROUNDS):
            step = await self._waiting(principal.tenant_id, execution_id, path)
            _check_may_answer(principal, step)
            if any(vote["by"] == principal.key_id for vote in step["votes"]):
                raise AlreadyVoted(f"this key has voted on {path} already; others have to")
            if await self._vote(step, answer, principal.key_id):
                self._signals.notify(execution_id)
                execution = await self._repository.get_progress(principal.tenant_id, execution_id)
                return await self._repository.get_step(execution, path)
        raise Conflict(f"others vote on {path} at the same time; try again")

    async def _waiting(self, tenant_id: str, execution_id: str, path: str) -> Document:
        execution = await self._repository.get_progress(tenant_id, execution_id)
        if execution.status.is_final:
            raise ExecutionFinished(f"execution {execution_id} is already {execution.status}", status=execution.status)
        step = await self._repository.get_step(execution, path)
        asks = (step.get("waits_for") or {}).get("what") == Waits.APPROVAL
        if not asks or step["status"] not in WAITING:
            raise StepNotWaiting(f"{path} does not wait for an approval; it is {status_of_step(step)}")
        return step

    async def _vote(self, step: Document, answer: Answer, by: str) -> bool:
        """False when somebody else voted since the step was read."""
        ended = await self._ended(step, answer, by)
        vote = answer.as_vote(by, self._clock())
        given = [*step["votes"], vote]
        if answer.approved and len(given) < step["waits_for"].get("quorum", 1):
            return await self._repository.add_vote(step, vote)
        as_read = {"votes": {"$size": len(step["votes"])}}
        if not await self._conclusions.end(step, ended, where=as_read, votes=given):
            return False
        await self._waker.wake(step["tenant_id"], step["execution_id"], request=step["_id"])
        return True

    async def _ended(self, step: Document, answer: Answer, by: str) -> Ended:
        asked = await self._conclusions.step_of(step)
        form = asked.approval.form if asked and asked.approval else {}
        output = answered(step["path"], form, Approval(answer.approved, by, answer.comment, answer.form))
        if not answer.approved:
            return Ended(End.FAILED, output, Fault(ApprovalRejected.code, f"{step['path']} was not approved by {by}"))
        ended = await self._conclusions.checked(step, Ended(End.SUCCEEDED, output))
        if ended.error:
            raise Invalid(f"{step['path']}: {ended.error.message}", field="form")
        return ended


def _check_may_answer(principal: Principal, step: Document) -> None:
    """By the id or the role of the key. An admin may always: other names mean nobody that this server knows."""
    approvers = step["waits_for"].get("approvers") or []
    if approvers and principal.role is not Role.ADMIN and not {principal.key_id, principal.role.value} & set(approvers):
        raise NotPermitted(f"{step['path']} is to be approved by {', '.join(approvers)}; use a key of theirs")
