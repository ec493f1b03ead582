"""Approvals go with the work that they were about; the audit trail keeps who decided what."""

from collections.abc import Sequence

from app.database.documents import Document, Documents
from app.governance.approvals.inputs import ProposedInputs
from app.jobs.retention import DeleteBelongings, ExpiredJob

BATCH = 100


def delete_approvals_of(documents: Documents, inputs: ProposedInputs, owner: str) -> DeleteBelongings:
    """``owner`` is the field that names the work: `task_id` or `execution_id`."""

    async def delete(jobs: Sequence[ExpiredJob]) -> None:
        for job in jobs:
            of_tenant = documents.of_tenant(job.tenant_id)
            while found := await of_tenant.find_many({owner: job.id}, limit=BATCH, fields=("subject.input", "edit")):
                for approval in found:
                    if _may_have_blobs(approval):
                        await inputs.delete(job.tenant_id, approval["_id"])
                await of_tenant.delete_many({"_id": {"$in": [approval["_id"] for approval in found]}})

    return delete


def _may_have_blobs(approval: Document) -> bool:
    return "sha256" in (approval["subject"]["input"] or {}) or approval["edit"] is not None
