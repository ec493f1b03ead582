"""Keeps what belongs to the steps of executions that are held."""

from collections.abc import Sequence
from datetime import datetime

from app.database.documents import Documents
from app.governance.legal_holds.keeping import Keep

STEPS_AT_ONCE = 1000
BY_SEQ = (("seq", 1),)


def keep_of_steps(steps: Documents, keep: Keep) -> Keep:
    """Keeps what ``keep`` finds by the ids of the steps of executions."""

    async def keep_each(tenant_id: str, ids: Sequence[str], until: datetime) -> None:
        for execution_id in ids:
            after = 0
            while found := await steps.of_tenant(tenant_id).find_many(
                {"execution_id": execution_id, "seq": {"$gt": after}}, sort=BY_SEQ, limit=STEPS_AT_ONCE, fields=("seq",)
            ):
                await keep(tenant_id, [step["_id"] for step in found], until)
                after = found[-1]["seq"]

    return keep_each
