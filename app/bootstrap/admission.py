"""How much may wait: tasks, executions and their steps wait for the same workers, and are counted together."""

from app.bootstrap.core import Core
from app.tasks.admission import Admission


def build_admission(core: Core) -> Admission:
    async def count_waiting(tenant_id: str | None, most: int) -> int:
        waiting = 0
        for jobs in core.kinds:
            if waiting < most:
                waiting += await jobs.recovery.count_waiting(limit=most - waiting, tenant_id=tenant_id)
        return waiting

    settings = core.settings
    return Admission(count_waiting, most=settings.max_backlog, most_per_tenant=settings.max_tenant_backlog)
