"""Steps that wait for an approval: asked for before the step is stored, and ended by what was decided."""

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from app.artifacts.evidence import with_entry
from app.database.documents import Document
from app.errors import Invalid, OrchestratorError
from app.events.signals import Signals
from app.governance.approvals import models as asked
from app.governance.approvals.models import ApprovalStatus, ApprovalSubject, SubjectKind
from app.governance.approvals.service import Approvals
from app.governance.approvals.terms import LONGEST_MESSAGE, ApprovalTerms
from app.jobs.models import Job, Status
from app.jobs.runner import Attempt
from app.jobs.store import JobNotSuspended, JobStore
from app.tasks.approval import waits_for
from app.tasks.evidence import refer_to_approval
from app.tasks.holds import HOLD
from app.workflows.executions.conclusions import Conclusions
from app.workflows.executions.models import ExecutionNotFound, Waits, step_id
from app.workflows.executions.rendering import Rendered
from app.workflows.executions.repository import ExecutionRepository
from app.workflows.executions.waking import Waker
from app.workflows.language.models import ApprovalSpec
from app.workflows.planner import End
from app.workflows.run import Execute
from app.workflows.steps.approvals import Approval, decided, expired
from app.workflows.view import Ended, failed


class StepApprovals:
    """Asks people for steps, and says what became of it."""

    def __init__(self, approvals: Approvals) -> None:
        self._approvals = approvals

    async def ask(self, execution: Job, execute: Execute, spec: ApprovalSpec, content: Rendered) -> Rendered:
        """What the step waits for, as long as whoever was asked first may decide."""
        instance = step_id(execution.id, execution.document["series"], execute.path)
        message = (content.waits_for or {})["message"]
        subject = ApprovalSubject(
            SubjectKind.STEP,
            instance,
            execute.path,
            {"execution_id": execution.id, "step_id": instance, "path": execute.path},
            reason=message[:LONGEST_MESSAGE],
        )
        approval = await self._approvals.request(
            execution.tenant_id, subject, _terms_of(spec), requested_by=execution.document["created_by"]
        )
        waits = {**(content.waits_for or {}), "until": approval.expires_at, "approval_id": approval.id}
        return replace(content, waits_for=waits, due_at=approval.expires_at)

    async def settled(self, attempt: Attempt, spec: ApprovalSpec) -> Approval:
        """The answer to a step whose time is over. Raises `ApprovalExpired`."""
        step = attempt.job
        approval = await self._approvals.find_by_subject(step.tenant_id, SubjectKind.STEP, step.id)
        if approval is None:
            # It began before approvals were asked for.
            return expired(spec)
        approval = await self._approvals.expire(approval)
        refer_to_approval(attempt, approval)
        return answer_of(approval, spec)


class StepOwner:
    """Steps: those that are approvals end by the decision, those that were held go on."""

    def __init__(
        self,
        repository: ExecutionRepository,
        conclusions: Conclusions,
        waker: Waker,
        steps: JobStore,
        ring: Callable[[str], None],
        signals: Signals,
    ) -> None:
        """``ring`` calls a worker for a step."""
        self._repository = repository
        self._conclusions = conclusions
        self._waker = waker
        self._steps = steps
        self._ring = ring
        self._signals = signals

    async def is_waiting(self, approval: asked.Approval) -> bool:
        step = await self._repository.find_step(approval.tenant_id, approval.ids["step_id"])
        if step is not None and Status(step["status"]).is_final:
            return False
        return await self._is_open(approval)

    async def check(self, approval: asked.Approval, answer: asked.Answer) -> None:
        """An approval's form must fit the contract of the step's output."""
        step = await self._repository.find_step(approval.tenant_id, approval.ids["step_id"])
        if step is None or not answer.approved or not _is_approval(step):
            return
        spec = await self._spec_of(step)
        given = Approval(True, "", answer.comment, answer.form)
        ended = await self._conclusions.checked(step, Ended(End.SUCCEEDED, decided(step["path"], spec.form, given)))
        if ended.error:
            raise Invalid(f"{step['path']}: {ended.error.message}", field="form")

    async def tell(self, approval: asked.Approval) -> bool:
        step = await self._repository.find_step(approval.tenant_id, approval.ids["step_id"])
        if step is None:
            return approval.outcome is None or not await self._is_open(approval)
        if Status(step["status"]).is_final:
            return True
        is_told = await self._show(step, approval) if _is_approval(step) else await self._release(approval)
        self._signals.notify(step["execution_id"])
        return is_told

    async def _is_open(self, approval: asked.Approval) -> bool:
        try:
            execution = await self._repository.get_progress(approval.tenant_id, approval.ids["execution_id"])
        except ExecutionNotFound:
            return False
        return not execution.status.is_final

    async def _show(self, step: Document, approval: asked.Approval) -> bool:
        votes = [_vote(one) for one in approval.votes]
        if approval.status is ApprovalStatus.PENDING or approval.outcome is None:
            await self._repository.show_approval(step, votes=votes, approvers=approval.approvers)
            return True
        ended = await self._ended(step, approval)
        if not await self._conclusions.end(step, ended, votes=votes, **with_entry(step, approval.evidence)):
            # A worker has it since its time is over, and ends it by the same decision.
            return True
        await self._waker.wake(step["tenant_id"], step["execution_id"], request=step["_id"])
        return True

    async def _ended(self, step: Document, approval: asked.Approval) -> Ended:
        spec = await self._spec_of(step)
        try:
            output = decided(step["path"], spec.form, answer_of(approval, spec))
        except OrchestratorError as error:
            return replace(failed(error), output=error.details.get("output"))
        return await self._conclusions.checked(step, Ended(End.SUCCEEDED, output))

    async def _spec_of(self, step: Document) -> ApprovalSpec:
        found = await self._conclusions.step_of(step)
        return found.approval if found and found.approval else ApprovalSpec()

    async def _release(self, approval: asked.Approval) -> bool:
        if approval.outcome is None:
            return True
        held = approval.ids["step_id"]
        try:
            await self._steps.resume(
                approval.tenant_id, held, where=waits_for(approval), fields={HOLD: None}, request=approval.id
            )
        except JobNotSuspended:
            # Its attempt may be about to wait; then it is told again.
            return False
        self._ring(held)
        return True


def answer_of(approval: asked.Approval, spec: ApprovalSpec) -> Approval:
    """What was decided. Raises `ApprovalExpired`."""
    if approval.status not in (ApprovalStatus.APPROVED, ApprovalStatus.REJECTED):
        return expired(spec)
    last = approval.decisions[-1]
    return Approval(last["decision"] == asked.Outcome.APPROVED, last["by"], last["comment"], json.loads(last["form"]))


def _terms_of(spec: ApprovalSpec) -> ApprovalTerms:
    return ApprovalTerms(
        approvers=spec.approvers,
        quorum=spec.quorum,
        self_approval=spec.self_approval,
        expires_in=spec.expires_in,
        on_expiry=spec.on_expiry,
        escalation=spec.escalation,
        form=spec.form,
    )


def _is_approval(step: Document) -> bool:
    return (step.get("waits_for") or {}).get("what") == Waits.APPROVAL


def _vote(decision: dict[str, Any]) -> dict[str, Any]:
    approved = decision["decision"] == asked.Outcome.APPROVED
    return {"by": decision["by"], "approved": approved, "comment": decision["comment"], "at": decision["at"]}
