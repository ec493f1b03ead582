"""A task that waits until people have approved it, or a call of one of its tools."""

from collections.abc import Callable
from datetime import datetime

from app.errors import Invalid, NotFound
from app.events.signals import Signals
from app.governance.approvals.models import Answer, Approval, ApprovalExpired, ApprovalRejected, Outcome, SubjectKind
from app.jobs.models import Job, Status
from app.jobs.outcomes import Suspended
from app.jobs.store import JobNotSuspended, JobStore
from app.tasks.holds import HOLD, HoldKind, held
from app.tasks.repository import TaskRepository


def held_for_approval(approval: Approval, *, since: datetime) -> Suspended:
    """The task, or the step of a workflow, waits without a worker for what people say."""
    title = approval.document["subject"]["title"]
    facts = {"approval_id": approval.id, "approvers": approval.approvers, "expires_at": approval.expires_at}
    return held(HoldKind.APPROVAL, f"approval: {title}", since=since, facts=facts)


def check_approved(approval: Approval) -> None:
    """Raises `ApprovalRejected` or `ApprovalExpired` for one that is over and was not given."""
    title = approval.document["subject"]["title"]
    if approval.outcome is Outcome.FAILED:
        raise ApprovalExpired(f"{title}: nobody decided in time")
    if approval.outcome is not Outcome.APPROVED:
        by = approval.document["history"][-1]["by"]
        raise ApprovalRejected(f"{title}: not approved by {by}")


def waits_for(approval: Approval) -> dict[str, str]:
    """What is stored of work that waits for this very approval."""
    return {f"{HOLD}.kind": HoldKind.APPROVAL.value, f"{HOLD}.facts.approval_id": approval.id}


class TaskOwner:
    """Tasks whose approvals were asked for before they were suspended, under the same id."""

    def __init__(
        self,
        store: JobStore,
        repository: TaskRepository,
        ring: Callable[[str], None],
        signals: Signals,
        *,
        max_task_bytes: int,
    ) -> None:
        """``ring`` calls a worker for a task."""
        self._max_task_bytes = max_task_bytes
        self._store = store
        self._repository = repository
        self._ring = ring
        self._signals = signals

    async def check(self, approval: Approval, answer: Answer) -> None:
        """An edited task must be one that could have been submitted."""
        size = len((answer.edited_input or "").encode())
        if approval.kind is SubjectKind.TASK and size > self._max_task_bytes:
            raise Invalid(f"the edited task has more than {self._max_task_bytes} bytes", field="edited_input")

    async def is_waiting(self, approval: Approval) -> bool:
        try:
            task = await self._repository.get_progress(approval.tenant_id, approval.ids["task_id"])
        except NotFound:
            return False
        return not Status(task["status"]).is_final

    async def tell(self, approval: Approval) -> bool:
        if approval.outcome is None:
            return True
        task_id = approval.ids["task_id"]
        try:
            job = await self._store.resume(
                approval.tenant_id, task_id, where=waits_for(approval), fields={HOLD: None}, request=approval.id
            )
        except NotFound:
            return True
        except JobNotSuspended:
            # Its attempt may be about to wait; then it is told again.
            return not await self.is_waiting(approval)
        self._announce(job)
        return True

    def _announce(self, job: Job) -> None:
        self._ring(job.id)
        self._signals.notify(job.id)
