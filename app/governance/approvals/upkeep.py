"""What becomes of approvals when nobody asks: they expire, go to further approvers, and are told again."""

from app.clock import Clock
from app.errors import OrchestratorError
from app.governance.approvals.repository import ApprovalRepository, delay_after
from app.governance.approvals.service import Approvals
from app.governance.approvals.transitions import LOOK_AGAIN
from app.observability.logging import get_logger

BATCH = 100
MOST_BATCHES = 10

log = get_logger(__name__)


class ApprovalUpkeep:
    def __init__(self, repository: ApprovalRepository, approvals: Approvals, *, clock: Clock) -> None:
        self._repository = repository
        self._approvals = approvals
        self._clock = clock

    async def attend_due(self) -> int:
        """Attend to those whose time has come, and check some of the others, each up to a bound; answers how many."""
        attended = 0
        for _ in range(MOST_BATCHES):
            attended += (count := await self._attend_some())
            if count < BATCH:
                break
        return attended + await self._check_some()

    async def _attend_some(self) -> int:
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

    async def _check_some(self) -> int:
        """However many are pending, this takes a bounded time of each sweep, and none from those that expire."""
        unchecked = await self._repository.list_unchecked(self._clock(), limit=BATCH)
        for approval in unchecked:
            try:
                await self._approvals.check(approval)
            except OrchestratorError as error:
                log.warning("approval.not_checked", approval_id=approval.id, error_type=error.code)
            await self._repository.check_again(approval, self._clock() + LOOK_AGAIN)
        return len(unchecked)
