"""Approvals go with the work that they were about, as all that the artifact store has of it; the audit trail keeps who
decided what.
"""

from collections.abc import Sequence

from app.database.documents import Documents
from app.jobs.retention import DeleteBelongings, ExpiredJob


def delete_approvals_of(documents: Documents, owner: str) -> DeleteBelongings:
    """``owner`` is the field that names the work: `task_id` or `execution_id`."""

    async def delete(jobs: Sequence[ExpiredJob]) -> None:
        for job in jobs:
            await documents.of_tenant(job.tenant_id).delete_many({owner: job.id})

    return delete
