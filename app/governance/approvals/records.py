"""The record of an approval that is over: what was asked on which terms, who said what, and what came of it."""

import hashlib
import json
from typing import Any

from app.artifacts.evidence import EVIDENCE, EvidenceStore
from app.artifacts.models import ArtifactKind
from app.artifacts.places import Part, place_of_subject
from app.governance.approvals.models import Approval
from app.governance.approvals.transitions import Change, applied

_ABOUT = ("kind", "status", "outcome", "version", "revision", "requested_by", "approvers", "delegations", "history")
_TIMES = ("created_at", "expires_at", "escalated_at", "decided_at")


class ApprovalRecords:
    def __init__(self, evidence: EvidenceStore) -> None:
        self._evidence = evidence

    async def with_record(self, approval: Approval, change: Change, proposed: str | None) -> Change:
        """A change that ends the approval, referring to the record of how it then is; that is in the store by now.

        Of several who would end it at once only one will, and what the others left is never referred to. Raises what
        `ArtifactStore.put` raises.
        """
        ended = applied(approval.document, change)
        entry = await self._evidence.put(
            place_of_subject(approval.tenant_id, approval.ids, Part.APPROVALS),
            _record(ended, approval, proposed),
            kind=ArtifactKind.APPROVAL,
            name=f"approval-{approval.id}.json",
            at=ended["decided_at"],
        )
        return {**change, "$set": {**change["$set"], EVIDENCE: entry}}


def _record(ended: dict[str, Any], approval: Approval, proposed: str | None) -> dict[str, Any]:
    subject, edit = ended["subject"], ended["edit"]
    return {
        "approval_id": approval.id,
        "subject": {
            "tenant_id": approval.tenant_id,
            **{name: subject[name] for name in ("title", "reason", "ids", "policy")},
        },
        **{name: ended[name] for name in (*_ABOUT, *_TIMES)},
        "terms": json.loads(ended["terms"]),
        "proposed_input": None if proposed is None else _digest(proposed),
        "edit": {name: edit[name] for name in ("by", "at", "diff")} if edit else None,
        "decisions": [{**one, "form": json.loads(one["form"])} for one in ended["decisions"]],
    }


def _digest(text: str) -> dict[str, Any]:
    # A model may have made half a character up.
    data = text.encode(errors="surrogatepass")
    return {"sha256": hashlib.sha256(data).hexdigest(), "size": len(data)}
