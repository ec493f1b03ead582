"""What retention has deleted, as the audit trail tells it: how many and of which kind, and no ids."""

from collections import Counter
from collections.abc import Sequence

from app.governance.audit.trail import SYSTEM, AuditTrail
from app.jobs.retention import DeleteBelongings, ExpiredJob


def record_deletions(trail: AuditTrail, kind: str) -> DeleteBelongings:
    """To be the last of the belongings; after a crash in between the same jobs are counted again."""

    async def record(jobs: Sequence[ExpiredJob]) -> None:
        for tenant_id, count in Counter(job.tenant_id for job in jobs).items():
            await trail.record(tenant_id, "retention.deleted", SYSTEM, {"kind": kind}, {"count": count})

    return record
