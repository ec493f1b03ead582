"""What becomes of approvals when nobody asks: they expire, go to further approvers, and are told again."""

from app.clock import Clock
from app.errors import OrchestratorError
from app.governance.approvals.repository import ApprovalRepository, delay_after
from app.governance.approvals.service import Approvals
from app.observability.logging import get_logger

BATCH = 100

log = get_logger(__name__)


class ApprovalUpkeep:
    def __init__(self, repository: ApprovalRepository, approvals: Approvals, *, clock: Clock) -> None:
        self._repository = repository
        self._approvals = approvals
        self._clock = clock

    async def attend_due(self) -> int:
        """Attend to those whose time has come, up to a bound; answers how many."""
        due = await self._repository.list_due(self._clock(), limit=BATCH)
        for approval in due:
            try:
                await self._approvals.attend(approval)
            except OrchestratorError as error:
                # One that cannot be told must not keep the others waiting.
                log.warning("approval.not_attended", approval_id=approval.id, error_type=error.code)
                now = self._clock()
                await self._repository.look_again(approval, now + delay_after(now - approval.document["updated_at"]))
        return len(due)
