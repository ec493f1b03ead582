"""Which budgets hold: the deployment's settings, and what the tenants have stored, remembered for a few seconds."""

import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

import structlog

from app.errors import OrchestratorError
from app.governance.budgets.accounts import Budgets, Rules
from app.governance.budgets.repository import BudgetRepository

log = structlog.get_logger(__name__)

# How long what was read is believed: a lower limit holds everywhere after it. A higher one holds at once, because
# nothing is refused by what was read before.
READ_AGE = 5.0
MOST_TENANTS = 1000


@dataclass(slots=True)
class _Read:
    rules: Rules
    at: float


class BudgetBook:
    """All its methods belong to the event loop."""

    def __init__(
        self, configured: Budgets, repository: BudgetRepository, *, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self.configured = configured
        self._repository = repository
        self._monotonic = monotonic
        self._read: OrderedDict[str, _Read] = OrderedDict()

    async def rules_of(self, tenant_id: str) -> Rules:
        """As they were a moment ago. Raises what the store raises, unless they are known from before."""
        known = self._read.get(tenant_id)
        if known is not None and self._monotonic() - known.at < READ_AGE:
            return known.rules
        try:
            return await self.read_again(tenant_id)
        except OrchestratorError as error:
            if known is None:
                raise
            log.warning("budgets.not_read", error_type=error.code)
            return known.rules

    async def read_again(self, tenant_id: str) -> Rules:
        """As they are now."""
        rules = Rules(self.configured, await self._repository.read(tenant_id))
        self._read[tenant_id] = _Read(rules, self._monotonic())
        self._read.move_to_end(tenant_id)
        if len(self._read) > MOST_TENANTS:
            self._read.popitem(last=False)
        return rules
