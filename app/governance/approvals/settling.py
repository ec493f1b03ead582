"""What follows from every change of an approval: it is recorded, and whose work waits for it is told.

Both come after the change, and may be cut off; the upkeep then does the rest. So an entry of the audit trail may be
there twice, under the same id, and never not at all.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from uuid import UUID, uuid5

from app.clock import Clock
from app.errors import OrchestratorError
from app.governance.approvals.models import Approval, Owner
from app.governance.approvals.repository import ApprovalRepository, delay_after
from app.governance.approvals.transitions import next_look
from app.governance.audit.entries import Act
from app.governance.audit.trail import AuditTrail
from app.observability.logging import get_logger

log = get_logger(__name__)


class Settlement:
    def __init__(
        self, repository: ApprovalRepository, owners: Mapping[str, Owner], trail: AuditTrail, *, clock: Clock
    ) -> None:
        """``owners`` by the id that tells them: `step_id`, `task_id`."""
        self._repository = repository
        self._owners = owners
        self._trail = trail
        self._clock = clock

    def owner_of(self, approval: Approval) -> Owner:
        name = next(name for name in self._owners if name in approval.ids)
        return self._owners[name]

    async def follow(self, approval: Approval) -> None:
        """What follows from its last change, which this process has made. What fails here is done again later."""
        try:
            await self._settle(approval, [len(approval.document["history"]) - 1], is_first=True)
        except OrchestratorError as error:
            log.warning("approval.not_settled", approval_id=approval.id, error_type=error.code)

    async def catch_up(self, approval: Approval) -> None:
        """What may have been cut off."""
        document = approval.document
        left = [n for n in range(len(document["history"])) if n not in document["recorded"]]
        await self._settle(approval, left, is_first=False)

    async def _settle(self, approval: Approval, entries: Sequence[int], *, is_first: bool) -> None:
        try:
            is_told = await self.owner_of(approval).tell(approval)
        finally:
            is_recorded = await self._record(approval, entries, is_first=is_first)
        now = self._clock()
        again = now + delay_after(now - approval.document["updated_at"])
        is_done = is_told and is_recorded
        await self._repository.look_again(approval, next_look(approval) if is_done else again)

    async def _record(self, approval: Approval, entries: Sequence[int], *, is_first: bool) -> bool:
        """False while one of these entries of its history waits in memory only, and may be lost with this process."""
        recorded = []
        for number in entries:
            act = self._act(approval, number)
            if (not is_first and await self._trail.has(act)) or await self._trail.write(act):
                recorded.append(number)
        if recorded:
            await self._repository.note_recorded(approval, recorded)
        return len(recorded) == len(entries)

    def _act(self, approval: Approval, number: int) -> Act:
        entry = approval.document["history"][number]
        subject = {"approval_id": approval.id, **approval.ids}
        detail = {**entry["detail"], "subject": approval.kind.value}
        act = self._trail.act(approval.tenant_id, f"approval.{entry['event']}", entry["by"], subject, detail)
        return replace(act, id=str(uuid5(UUID(approval.id), str(number))), at=entry["at"])
