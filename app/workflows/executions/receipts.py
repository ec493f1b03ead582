"""The receipt of an execution that has ended: its service and its route."""

import asyncio
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request

from app.database.documents import Document, Documents
from app.errors import Conflict
from app.http.openapi import responses
from app.identity.authentication import CurrentPrincipal
from app.jobs.models import Status
from app.workflows.executions.models import ExecutionNotFound
from app.workflows.executions.routes import ExecutionId
from app.workflows.receipt import receipt_of

PAGE = 1000
_BY_SEQ = (("seq", 1), ("_id", 1))
_OF_EXECUTION = (
    "tenant_id", "status", "workflow", "inputs", "outputs", "fault", "error", "series", "forked_from", "log",
    "last_seq", "created_at", "created_by", "completed_at",
)  # fmt: skip
_OF_STEP = (
    "path", "series", "kind", "status", "seq", "ended_seq", "input", "output", "end", "fault", "error", "attempts",
    "votes", "reused_from", "artifacts", "created_at", "completed_at",
)  # fmt: skip


class ExecutionNotFinished(Conflict):
    code = "EXECUTION_NOT_FINISHED"
    title = "Execution not finished"


class Receipts:
    def __init__(self, executions: Documents, steps: Documents) -> None:
        self._executions = executions
        self._steps = steps

    async def get(self, tenant_id: str, execution_id: str) -> dict[str, Any]:
        """Raises `ExecutionNotFound`, and `ExecutionNotFinished` while it may still change."""
        where = {"_id": execution_id}
        execution = await self._executions.of_tenant(tenant_id).find_one(where, fields=_OF_EXECUTION)
        if execution is None:
            raise ExecutionNotFound(f"no execution {execution_id[:64]!r}", execution_id=execution_id[:64])
        if not Status(execution["status"]).is_final:
            raise ExecutionNotFinished(f"execution {execution_id} has not ended yet, and its receipt is made then")
        steps = await self._read_steps(tenant_id, execution_id)
        # Thousands of hashes, which other requests need not wait for.
        return await asyncio.to_thread(receipt_of, execution, steps)

    async def _read_steps(self, tenant_id: str, execution_id: str) -> list[Document]:
        documents, found, after = self._steps.of_tenant(tenant_id), list[Document](), -1
        while True:
            where = {"execution_id": execution_id, "seq": {"$gt": after}}
            page = await documents.find_many(where, limit=PAGE, sort=_BY_SEQ, fields=_OF_STEP)
            found += page
            if len(page) < PAGE:
                return found
            after = page[-1]["seq"]


router = APIRouter(prefix="/v1/executions", tags=["Workflows"])


async def _receipts(request: Request) -> Receipts:
    receipts: Receipts = request.app.state.execution_receipts
    return receipts


@router.get("/{execution_id}/receipt", responses=responses(404, 409, 422, 503))
async def get_execution_receipt(
    execution_id: ExecutionId,
    receipts: Annotated[Receipts, Depends(_receipts)],
    principal: CurrentPrincipal,
) -> dict[str, Any]:
    """What was run on what, who decided, what came out and what it cost, with the events that prove it.

    The events are chained by their hashes. `orchestrate receipt verify FILE` checks an answer that was saved, offline.
    """
    return await receipts.get(principal.tenant_id, execution_id)
