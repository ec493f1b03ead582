"""Who may decide what, and what an answer has to be. Pure."""

import difflib
import json
from collections.abc import Callable, Mapping
from typing import Any

from app.agents.schema_check import SchemaCheck, SchemaMisfit, SchemaUnusable
from app.clock import to_iso
from app.contracts import object_schema_of, violations, with_defaults
from app.errors import Conflict, Invalid, NotPermitted
from app.governance.approvals.models import (
    AlreadyVoted,
    Answer,
    Approval,
    ApprovalChanged,
    ApprovalDecided,
    ApprovalStatus,
)
from app.identity.permissions import Action, may
from app.identity.principals import Principal
from app.settings import Role

LARGEST_FORM = 16 * 1024
LARGEST_DIFF = 64 * 1024
MOST_DECISIONS = 200
Groups = Mapping[str, frozenset[str]]
FindKey = Callable[[str], Principal | None]


def names_of(principal: Principal, groups: Groups) -> frozenset[str]:
    """What approvers may be called that this key is one of."""
    member = {group for group, keys in groups.items() if principal.key_id in keys}
    return frozenset({principal.key_id, principal.role.value, *member})


def check_pending(approval: Approval) -> None:
    """Raises `ApprovalDecided` that says who was faster."""
    if approval.status is ApprovalStatus.PENDING:
        return
    last = approval.document["history"][-1]
    message = f"approval {approval.id} is {approval.status} since {to_iso(last['at'])}, by {last['by']}"
    raise ApprovalDecided(message, status=approval.status, by=last["by"], at=to_iso(last["at"]))


def check_version(approval: Approval, expected: int | None) -> None:
    """Raises `ApprovalChanged` that says who changed it."""
    if expected is None or expected == approval.version:
        return
    last = approval.document["history"][-1]
    message = f"it has version {approval.version} now: {last['event']} by {last['by']}; read it again and decide then"
    raise ApprovalChanged(message, version=approval.version, by=last["by"])


def check_revision(approval: Approval, answer: Answer) -> None:
    """Raises `ApprovalChanged`."""
    if answer.revision not in (None, approval.revision):
        by = approval.document["edit"]["by"]
        raise ApprovalChanged(f"what is proposed was changed by {by} since; look at it again", by=by)


def check_may_decide(approval: Approval, principal: Principal, groups: Groups, find_key: FindKey) -> str | None:
    """On behalf of which key it decides, if not its own. Raises `NotPermitted` and `AlreadyVoted`."""
    check_is_not_requester(approval, principal.key_id)
    if any(vote["by"] == principal.key_id for vote in approval.votes):
        raise AlreadyVoted(f"this key has voted on {approval.document['subject']['title']} already; others have to")
    given_to: dict[str, str] = {one["by"]: one["to"] for one in approval.document["delegations"]}
    if principal.key_id in given_to:
        raise NotPermitted(f"this key has given its vote to {given_to[principal.key_id]}")
    if is_approver(approval, principal, groups):
        return None
    for by, to in given_to.items():
        delegator = find_key(by) if to == principal.key_id else None
        if delegator and is_approver(approval, delegator, groups):
            return by
    wanted = ", ".join(approval.approvers)
    raise NotPermitted(f"{approval.document['subject']['title']} is to be approved by {wanted}; use a key of theirs")


def check_is_not_requester(approval: Approval, key_id: str) -> None:
    """Raises `NotPermitted`."""
    if key_id == approval.requested_by and not approval.document["asks_requester"]:
        raise NotPermitted("the key that asked for it may not decide it; another one has to")


def is_approver(approval: Approval, principal: Principal, groups: Groups) -> bool:
    """An admin always is one: other names may mean nobody that this server knows. Who may only read never is."""
    names = approval.approvers
    if not may(principal.role, Action.WRITE):
        return False
    return not names or principal.role is Role.ADMIN or not names_of(principal, groups).isdisjoint(names)


def filled_form(approval: Approval, answer: Answer) -> dict[str, Any]:
    """With the defaults of the form. Raises `Invalid`; a rejection need not fill it in."""
    if strangers := sorted(answer.form.keys() - approval.terms.form.keys()):
        known = ", ".join(approval.terms.form) or "none"
        raise Invalid(f"the approval's form has no field {strangers[0][:80]!r}; it has {known}", field="form")
    filled = with_defaults(approval.terms.form, answer.form)
    if len(json.dumps(filled).encode()) > LARGEST_FORM:
        raise Invalid(f"the approval's form has more than {LARGEST_FORM} bytes", field="form")
    schema = object_schema_of(approval.terms.form, closed=True)
    if answer.approved and (found := violations(schema, filled)):
        title = approval.document["subject"]["title"]
        raise Invalid(f"{title}: the approval's form does not fit: {'; '.join(found)}", field="form")
    return filled


def check_edit(approval: Approval, answer: Answer) -> None:
    """Raises `Invalid` for an edit that is not one, or breaks the contract of what is edited."""
    edited, subject = answer.edited_input, approval.document["subject"]
    if edited is None:
        return
    if subject["input"] is None:
        raise Invalid("this approval proposes no input that could be edited", field="edited_input")
    if not answer.approved:
        raise Invalid("who rejects need not edit: leave edited_input out", field="edited_input")
    if not edited.strip():
        raise Invalid("the edited input is empty", field="edited_input")
    if subject["input_schema"] is not None:
        _check_fits(edited, json.loads(subject["input_schema"]))


def check_room(approval: Approval) -> None:
    if len(approval.decisions) >= MOST_DECISIONS:
        raise Conflict(f"{MOST_DECISIONS} decisions were made about it already; cancel its subject and ask anew")


def _check_fits(edited: str, schema: Mapping[str, Any]) -> None:
    try:
        SchemaCheck("the input's contract", schema).check(json.loads(edited), root="edited_input")
    except (SchemaMisfit, SchemaUnusable) as error:
        raise Invalid(f"the edited input does not fit: {error}", field="edited_input") from error
    except (ValueError, RecursionError) as error:
        raise Invalid("the edited input is not JSON, and has to be", field="edited_input") from error


def diff_of(before: str, after: str) -> str:
    """Unified, by line; cut where it is very long."""
    lines = difflib.unified_diff(before.splitlines(), after.splitlines(), "proposed", "edited", lineterm="")
    return "\n".join(lines)[:LARGEST_DIFF]
