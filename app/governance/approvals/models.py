"""Something that people are asked to approve: what it is, how they decided, and what came of it."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum
from typing import Any, Protocol, Self
from uuid import NAMESPACE_OID, uuid5

from app.database.documents import Document
from app.errors import Conflict, ExecutionError, NotFound
from app.governance.approvals.terms import ApprovalTerms

# Who decides when nobody did.
EXPIRY = "expiry"
# In whose inbox an approval without approvers is.
ANYBODY = "*"


class SubjectKind(StrEnum):
    """What is to be approved: that a task or a step begins or goes on, or one call of a tool."""

    TASK = "task"
    STEP = "step"
    TOOL = "tool"


class ApprovalStatus(StrEnum):
    PENDING = "pending"
    APPROVED = "approved"
    REJECTED = "rejected"
    EXPIRED = "expired"
    CANCELLED = "cancelled"


class Outcome(StrEnum):
    """What the subject is told. An approval that expired comes to what its terms say."""

    APPROVED = "approved"
    REJECTED = "rejected"
    FAILED = "failed"


class ApprovalNotFound(NotFound):
    code = "APPROVAL_NOT_FOUND"
    title = "Approval not found"


class ApprovalDecided(Conflict):
    """It is not pending any more; the details say who was faster."""

    code = "APPROVAL_ALREADY_DECIDED"
    title = "Approval already decided"


class ApprovalChanged(Conflict):
    """If-Match names another version than the current one."""

    code = "APPROVAL_CHANGED"
    status = 412
    title = "Approval changed"


class AlreadyVoted(Conflict):
    code = "ALREADY_VOTED"
    title = "Already voted"


class ApprovalRejected(ExecutionError):
    code = "APPROVAL_REJECTED"
    title = "Approval rejected"


class ApprovalExpired(ExecutionError):
    code = "APPROVAL_EXPIRED"
    title = "Approval expired"


@dataclass(frozen=True, slots=True)
class ApprovalSubject:
    """What is asked about: the same ``key`` of a kind in a tenant is the same question, asked once.

    ``ids`` say whose it is: `task_id`, or `execution_id`, `step_id` and `path`. ``input`` is the text that is proposed,
    which an approver may edit; with an ``input_schema`` an edited one has to be JSON that fits.
    ``policy`` has the `rule` that wants it and the policy's `digest`.
    """

    kind: SubjectKind
    key: str
    title: str
    ids: Mapping[str, str]
    input: str | None = None
    input_schema: Mapping[str, Any] | None = None
    reason: str = ""
    policy: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Answer:
    """What an approver says; ``form`` has the fields that were filled in, ``via`` who issued the link that was used.

    With a ``revision`` it is about the input as that one has it, and about no other.
    """

    approved: bool
    comment: str = ""
    form: Mapping[str, Any] = field(default_factory=dict)
    edited_input: str | None = None
    via: str | None = None
    revision: int | None = None


@dataclass(frozen=True, slots=True)
class Approval:
    """As it is stored in ``document``. ``input`` is the text as it holds now, edited or not."""

    id: str
    tenant_id: str
    kind: SubjectKind
    status: ApprovalStatus
    version: int
    revision: int
    requested_by: str
    terms: ApprovalTerms
    document: Document = field(repr=False)
    input: str | None = None

    @classmethod
    def read(cls, document: Document) -> Self:
        """Without its input, which is kept elsewhere when it is large."""
        return cls(
            document["_id"],
            document["tenant_id"],
            SubjectKind(document["kind"]),
            ApprovalStatus(document["status"]),
            document["version"],
            document["revision"],
            document["requested_by"],
            ApprovalTerms.model_validate_json(document["terms"]),
            document,
        )

    def with_input(self, text: str) -> Self:
        return replace(self, input=text)

    @property
    def outcome(self) -> Outcome | None:
        """None while it is pending, and when it was cancelled."""
        return Outcome(self.document["outcome"]) if self.document["outcome"] else None

    @property
    def ids(self) -> Mapping[str, str]:
        found: Mapping[str, str] = self.document["subject"]["ids"]
        return found

    @property
    def evidence(self) -> Mapping[str, Any] | None:
        """What refers to its record in the artifact store; None until it is decided or has expired."""
        entry: Mapping[str, Any] | None = self.document["evidence"]
        return entry

    @property
    def is_edited(self) -> bool:
        return self.document["edit"] is not None

    @property
    def expires_at(self) -> datetime | None:
        moment: datetime | None = self.document["expires_at"]
        return moment

    @property
    def approvers(self) -> list[str]:
        """With those it was escalated to."""
        names: list[str] = self.document["approvers"]
        return names

    @property
    def decisions(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.document["decisions"]
        return found

    @property
    def votes(self) -> list[dict[str, Any]]:
        """The decisions about the input as it is now: an edit asks everybody again."""
        return [one for one in self.decisions if one["revision"] == self.revision]


class Owner(Protocol):
    """Whose work waits for an approval."""

    async def is_waiting(self, approval: Approval) -> bool:
        """False when nothing is to be approved any more."""
        ...

    async def check(self, approval: Approval, answer: Answer) -> None:
        """Raises `Invalid` for an answer that cannot be gone on with."""
        ...

    async def tell(self, approval: Approval) -> bool:
        """Show what was decided so far and, when that is all, go on. False: it is to be told again later."""
        ...


def approval_id(tenant_id: str, kind: SubjectKind, key: str) -> str:
    """The same for the same question, so that asking twice finds it there."""
    return str(uuid5(NAMESPACE_OID, f"{tenant_id}:{kind}:{key}"))
