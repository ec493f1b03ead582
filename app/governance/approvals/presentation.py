"""From approvals as they are stored to what clients see. Pure."""

import json
from typing import Any

from app.contracts import object_schema_of
from app.governance.approvals.models import Approval, ApprovalStatus
from app.governance.approvals.schemas import (
    ApprovalItem,
    ApprovalResponse,
    Decision,
    Delegation,
    Edit,
    HistoryItem,
    Subject,
)

_TIMES = ("created_at", "expires_at", "escalates_at", "escalated_at", "decided_at")


def present_item(approval: Approval, *, may_decide: bool) -> ApprovalItem:
    return ApprovalItem(**_item(approval, may_decide=may_decide))


def present_approval(approval: Approval, *, proposed_input: str | None, may_decide: bool) -> ApprovalResponse:
    document, edit = approval.document, approval.document["edit"]
    return ApprovalResponse(
        **_item(approval, may_decide=may_decide),
        terms=approval.terms.model_dump(mode="json", exclude_unset=True),
        form=object_schema_of(approval.terms.form, closed=True),
        proposed_input=proposed_input,
        input=approval.input,
        edit=Edit(by=edit["by"], at=edit["at"], diff=edit["diff"]) if edit else None,
        evidence_sha256=approval.evidence["sha256"] if approval.evidence else None,
        decisions=[Decision(**{**one, "form": json.loads(one["form"])}) for one in approval.decisions],
        delegations=[Delegation(**one) for one in document["delegations"]],
        history=[HistoryItem(**one) for one in document["history"]],
    )


def _item(approval: Approval, *, may_decide: bool) -> dict[str, Any]:
    document = approval.document
    subject = {name: document["subject"][name] for name in ("title", "reason", "ids")}
    is_pending = approval.status is ApprovalStatus.PENDING
    return {
        **{name: document[name] for name in _TIMES},
        "approval_id": approval.id,
        "subject": Subject(kind=approval.kind, **subject),
        "status": approval.status,
        "outcome": approval.outcome,
        "version": approval.version,
        "requested_by": approval.requested_by,
        "approvers": approval.approvers,
        "quorum": approval.terms.quorum,
        "message": approval.terms.message,
        "votes": sum(one["decision"] == "approved" for one in approval.votes),
        "may_decide": is_pending and may_decide,
    }
