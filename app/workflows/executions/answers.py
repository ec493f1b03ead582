"""Answers of people to steps that wait for them: each decides the approval that the step asked for."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from app.database.documents import Document
from app.governance.approvals import models as asked
from app.governance.approvals.models import ApprovalDecided, ApprovalNotFound
from app.governance.approvals.service import Approvals
from app.identity.principals import Principal
from app.jobs.store import WAITING
from app.workflows.executions.listing import status_of_step
from app.workflows.executions.models import ExecutionFinished, StepNotWaiting, Waits
from app.workflows.executions.repository import ExecutionRepository


@dataclass(frozen=True, slots=True)
class Answer:
    """``form`` has the fields that the approver filled in."""

    approved: bool
    comment: str = ""
    form: Mapping[str, Any] = field(default_factory=dict)


class Answers:
    def __init__(self, repository: ExecutionRepository, approvals: Approvals) -> None:
        self._repository = repository
        self._approvals = approvals

    async def give(self, principal: Principal, execution_id: str, path: str, answer: Answer) -> Document:
        """The step after this vote. A rejection ends it at once, an approval when the quorum is reached.

        Raises `StepNotWaiting`, `AlreadyVoted`, `NotPermitted`, and `Invalid` for a form that does not fit.
        """
        step = await self._waiting(principal.tenant_id, execution_id, path)
        said = asked.Answer(answer.approved, answer.comment, answer.form)
        try:
            await self._approvals.decide(principal, step["waits_for"]["approval_id"], said)
        except (ApprovalDecided, ApprovalNotFound) as error:
            raise StepNotWaiting(f"{path} does not wait for an approval any more: {error.message}") from error
        execution = await self._repository.get_progress(principal.tenant_id, execution_id)
        return await self._repository.get_step(execution, path)

    async def _waiting(self, tenant_id: str, execution_id: str, path: str) -> Document:
        execution = await self._repository.get_progress(tenant_id, execution_id)
        if execution.status.is_final:
            raise ExecutionFinished(f"execution {execution_id} is already {execution.status}", status=execution.status)
        step = await self._repository.get_step(execution, path)
        asks = (step.get("waits_for") or {}).get("what") == Waits.APPROVAL
        if not asks or step["status"] not in WAITING:
            raise StepNotWaiting(f"{path} does not wait for an approval; it is {status_of_step(step)}")
        return step
