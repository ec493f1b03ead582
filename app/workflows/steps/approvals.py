"""What the answer to an approval comes to. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, assert_never

from app.contracts import Contracts, object_schema_of, violations, with_defaults
from app.errors import Invalid
from app.governance.approvals.models import EXPIRY, ApprovalExpired, ApprovalRejected
from app.governance.approvals.terms import ApprovalTerms
from app.workflows.language.models import ApprovalSpec

_NOBODY = "nobody answered in time"


@dataclass(frozen=True, slots=True)
class Approval:
    """An answer; ``form`` has the fields that the approver filled in."""

    approved: bool
    by: str
    comment: str = ""
    form: Mapping[str, Any] = field(default_factory=dict)


def decided(path: str, form: Contracts, answer: Approval) -> dict[str, Any]:
    """The output of the step at this path. Raises `Invalid` for a form that does not fit, and `ApprovalRejected`."""
    return accepted(path, answered(path, form, answer))


def answered(path: str, form: Contracts, answer: Approval) -> dict[str, Any]:
    """The answer as an output, with the defaults of the form. Raises `Invalid`."""
    filled = with_defaults(form, answer.form)
    if answer.approved and (found := violations(object_schema_of(form, closed=True), filled)):
        raise Invalid(f"{path}: the approval's form does not fit: {'; '.join(found)}")
    return {"approved": answer.approved, "by": answer.by, "comment": answer.comment, "form": filled}


def accepted(path: str, output: dict[str, Any]) -> dict[str, Any]:
    """Raises `ApprovalRejected`."""
    if not output["approved"]:
        raise ApprovalRejected(f"{path} was not approved by {output['by']}", output=output)
    return output


def expired(spec: ApprovalSpec | ApprovalTerms) -> Approval:
    """What stands in for the answer that nobody gave. Raises `ApprovalExpired`."""
    match spec.on_expiry:
        case "approve":
            return Approval(True, EXPIRY, _NOBODY)
        case "reject":
            return Approval(False, EXPIRY, _NOBODY)
        case "fail":
            raise ApprovalExpired(_NOBODY)
        case other:
            assert_never(other)
