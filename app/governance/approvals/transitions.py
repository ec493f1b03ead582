"""The changes of an approval, each one conditional write. Pure."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from app.database.documents import Document
from app.governance.approvals.models import (
    ANYBODY,
    EXPIRY,
    Answer,
    Approval,
    ApprovalStatus,
    ApprovalSubject,
    Outcome,
    approval_id,
)
from app.governance.approvals.terms import ApprovalTerms
from app.identity.keys import ANONYMOUS
from app.identity.principals import Principal

Change = Mapping[str, Any]
# Whoever changes it tells its owner at once; nobody need do it instead before this.
PATIENCE = timedelta(seconds=5)
# How often it is looked whether anything still waits for it.
LOOK_AGAIN = timedelta(seconds=30)
# In nobody's inbox, and nothing to look after.
_OVER: Mapping[str, Any] = {"inbox": [], "check_at": None}
_OUTCOMES = {"approve": Outcome.APPROVED, "reject": Outcome.REJECTED, "fail": Outcome.FAILED}
_SYSTEM = "system"


@dataclass(frozen=True, slots=True)
class Edit:
    """The proposed input in other words: as it is stored, and what was changed."""

    stored: Mapping[str, Any]
    diff: str


@dataclass(frozen=True, slots=True)
class Vote:
    """An answer that was checked."""

    answer: Answer
    by: Principal
    on_behalf_of: str | None
    form: Mapping[str, Any]
    edit: Edit | None = None


def requested(
    tenant_id: str,
    subject: ApprovalSubject,
    terms: ApprovalTerms,
    *,
    requested_by: str,
    stored_input: Mapping[str, Any] | None,
    now: datetime,
) -> Document:
    return {
        "_id": approval_id(tenant_id, subject.kind, subject.key),
        "tenant_id": tenant_id,
        "kind": subject.kind.value,
        "subject": _described(subject, stored_input),
        "task_id": subject.ids.get("task_id"),
        "execution_id": subject.ids.get("execution_id"),
        "terms": terms.model_dump_json(exclude_unset=True),
        "approvers": list(terms.approvers),
        "inbox": list(terms.approvers) or [ANYBODY],
        # Where no key is asked for, nobody can be told from somebody else.
        "asks_requester": terms.self_approval or requested_by == ANONYMOUS,
        "status": ApprovalStatus.PENDING.value,
        **dict.fromkeys(("outcome", "escalated_at", "decided_at", "edit", "evidence")),
        "version": 1,
        "revision": 1,
        "requested_by": requested_by,
        "created_at": now,
        "updated_at": now,
        "expires_at": now + terms.expires_in if terms.expires_in else None,
        "escalates_at": now + terms.escalates_after if terms.escalates_after else None,
        "decisions": [],
        "voters": [],
        "delegations": [],
        "history": [_entry(now, "requested", requested_by, {})],
        "recorded": [],
        "look_at": now + PATIENCE,
        "check_at": now + LOOK_AGAIN,
    }


_ASKED_ANEW = ("subject", "terms", "approvers", "inbox", "asks_requester", "requested_by", "expires_at", "escalates_at")


def asked_again(approval: Approval, anew: Document, now: datetime) -> Change:
    """One that was cancelled, on the terms of now; what was said before counts no more."""
    fields = {name: anew[name] for name in _ASKED_ANEW}
    fresh = {"status": ApprovalStatus.PENDING.value, "decided_at": None, "escalated_at": None, "edit": None}
    fields |= {**fresh, "revision": approval.revision + 1, "voters": [], "delegations": []}
    fields["check_at"] = now + LOOK_AGAIN
    return _changed(now, "requested", anew["requested_by"], {}, fields)


def voted(approval: Approval, vote: Vote, now: datetime) -> Change:
    """A rejection decides at once, an approval when so many have approved the input as it is then."""
    edit, revision = vote.edit, approval.revision + (vote.edit is not None)
    event = Outcome.APPROVED if vote.answer.approved else Outcome.REJECTED
    decision = {
        "by": vote.by.key_id,
        "decision": event.value,
        "comment": vote.answer.comment,
        "form": json.dumps(vote.form),
        "at": now,
        "on_behalf_of": vote.on_behalf_of,
        "via": vote.answer.via,
        "revision": revision,
    }
    voters = [*(one["by"] for one in approval.decisions if one["revision"] == revision), vote.by.key_id]
    is_last = not vote.answer.approved or len(voters) >= approval.terms.quorum
    fields: dict[str, Any] = {"revision": revision, "voters": voters}
    if edit is not None:
        by = {"by": vote.by.key_id, "at": now}
        fields["edit"] = {**by, "input": dict(edit.stored), "diff": edit.diff}
    if is_last:
        fields |= {"status": event.value, "outcome": event.value, "decided_at": now, **_OVER}
    detail = {"on_behalf_of": vote.on_behalf_of, "via": vote.answer.via, "revision": revision, "is_last": is_last}
    return _changed(now, event.value, vote.by.key_id, detail, fields, pushed={"decisions": decision})


def delegated(by: str, to: str, comment: str, now: datetime) -> Change:
    delegation = {"by": by, "to": to, "comment": comment, "at": now}
    return _changed(now, "delegated", by, {"to": to}, {}, pushed={"delegations": delegation, "inbox": to})


def expired(approval: Approval, now: datetime) -> Change:
    outcome = _OUTCOMES[approval.terms.on_expiry]
    status = ApprovalStatus.EXPIRED.value
    fields: dict[str, Any] = {"status": status, "outcome": outcome.value, "decided_at": now, **_OVER}
    return _changed(now, "expired", EXPIRY, {"outcome": outcome.value}, fields)


def escalated(approval: Approval, now: datetime) -> Change:
    further = approval.terms.escalation.to if approval.terms.escalation else []
    approvers = list(dict.fromkeys([*approval.approvers, *further])) if approval.approvers else []
    inbox = list(dict.fromkeys([*approval.document["inbox"], *approvers]))
    fields: dict[str, Any] = {"approvers": approvers, "inbox": inbox, "escalates_at": None, "escalated_at": now}
    return _changed(now, "escalated", _SYSTEM, {"to": further}, fields)


def cancelled(now: datetime) -> Change:
    """Nothing waits for it any more."""
    fields = {"status": ApprovalStatus.CANCELLED.value, "decided_at": now, **_OVER}
    return _changed(now, "cancelled", _SYSTEM, {}, fields)


def applied(document: Document, change: Change) -> Document:
    """The approval as it is once the change is written."""
    pushed = {name: [*document[name], value] for name, value in change["$push"].items()}
    return {**document, **change["$set"], **pushed, "version": document["version"] + change["$inc"]["version"]}


def next_look(approval: Approval) -> datetime | None:
    """When the time of one that was told and recorded has come; None: no time is set for it."""
    if approval.status is not ApprovalStatus.PENDING:
        return None
    moments = (approval.expires_at, approval.document["escalates_at"])
    return min((moment for moment in moments if moment is not None), default=None)


def _described(subject: ApprovalSubject, stored_input: Mapping[str, Any] | None) -> dict[str, Any]:
    return {
        "title": subject.title,
        "reason": subject.reason,
        "ids": dict(subject.ids),
        "input": stored_input,
        "input_schema": None if subject.input_schema is None else json.dumps(subject.input_schema),
        "policy": None if subject.policy is None else dict(subject.policy),
    }


def _changed(
    now: datetime,
    event: str,
    by: str,
    detail: Mapping[str, Any],
    fields: Mapping[str, Any],
    *,
    pushed: Mapping[str, Any] | None = None,
) -> Change:
    return {
        "$set": {**fields, "updated_at": now, "look_at": now + PATIENCE},
        "$push": {**(pushed or {}), "history": _entry(now, event, by, detail)},
        "$inc": {"version": 1},
    }


def _entry(now: datetime, event: str, by: str, detail: Mapping[str, Any]) -> dict[str, Any]:
    return {"at": now, "event": event, "by": by, "detail": dict(detail)}
