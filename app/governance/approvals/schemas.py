"""What crosses the wire for approvals. Field names are a contract: add, never rename or remove."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from app.governance.approvals.models import ApprovalStatus, Outcome, SubjectKind
from app.http.pagination import PageMeta
from app.http.timestamps import Timestamp

EXAMPLE_ID = "3f2c8a53-8e0f-5a37-9a56-2f5a5c6d7e80"
EXAMPLE_KEY = "a1b2c3d4e5f6"
LONGEST_COMMENT = 10_000
LONGEST_LINK_LIFE = 7 * 24 * 3600
_STRICT = ConfigDict(extra="forbid", strict=True)
Comment = Annotated[str, StringConstraints(max_length=LONGEST_COMMENT)]
KeyId = Annotated[str, StringConstraints(min_length=1, max_length=200)]


class DecisionRequest(BaseModel):
    model_config = ConfigDict(**_STRICT, json_schema_extra={"examples": [{"decision": "approve", "comment": "Fine."}]})

    decision: Literal["approve", "reject"]
    comment: Comment = ""
    form: dict[str, Any] = Field(default_factory=dict, description="The fields that `form` asks approvers for.")
    edited_input: str | None = Field(
        None, description="The proposed input in other words: it is gone on with, and who approved before has to again."
    )


class DelegationRequest(BaseModel):
    model_config = _STRICT

    to: KeyId = Field(description="Id of another key of this tenant.", examples=[EXAMPLE_KEY])
    comment: Comment = ""


class LinkRequest(BaseModel):
    model_config = ConfigDict(**_STRICT, json_schema_extra={"examples": [{"decision": "approve"}]})

    decision: Literal["approve", "reject"]
    approver: KeyId | None = Field(
        None, description="Whose answer the link gives, by the key's id: your own, or as an admin that of others."
    )
    expires_in: int = Field(24 * 3600, ge=60, le=LONGEST_LINK_LIFE, description="Seconds.")


class LinkResponse(BaseModel):
    """Whoever has the link gives this answer: send it to that person alone."""

    token: str
    path: str = Field(description="Opened in a browser it shows what is decided; nothing is before it is confirmed.")
    url: str | None = Field(description="The same with PUBLIC_URL, when that is set.")
    expires_at: Timestamp
    api_version: Literal["v1"] = "v1"


class Subject(BaseModel):
    kind: SubjectKind
    title: str = Field(examples=["publish"])
    reason: str = Field(description="What approvers are asked.")
    ids: dict[str, str] = Field(examples=[{"task_id": EXAMPLE_ID}])


class Decision(BaseModel):
    by: str = Field(description="Id of the key.", examples=[EXAMPLE_KEY])
    decision: Literal["approved", "rejected"]
    comment: str
    form: dict[str, Any]
    at: Timestamp
    on_behalf_of: str | None = Field(description="Whose vote it was, when that was given away.")
    via: str | None = Field(description="Who issued the link that was used.")
    revision: int = Field(description="Of the input: votes on an earlier one count no more.")


class Delegation(BaseModel):
    by: str
    to: str
    comment: str
    at: Timestamp


class Edit(BaseModel):
    by: str
    at: Timestamp
    diff: str = Field(description="From the proposed input to the one that holds, unified by line.")


class HistoryItem(BaseModel):
    at: Timestamp
    event: str = Field(examples=["requested"])
    by: str
    detail: dict[str, Any]


class ApprovalItem(BaseModel):
    approval_id: str = Field(examples=[EXAMPLE_ID])
    subject: Subject
    status: ApprovalStatus
    outcome: Outcome | None = Field(description="What an approval that is over came to; null when it was cancelled.")
    version: int = Field(description="The ETag; one more with each change.")
    requested_by: str
    approvers: list[str] = Field(description="Who may decide now; empty: any key that may write.")
    quorum: int
    message: str = Field(description="What the rule that asks tells approvers; empty when it tells nothing.")
    votes: int = Field(description="How many have approved the input as it is.")
    may_decide: bool = Field(description="Whether the key that asks may decide it now.")
    created_at: Timestamp
    expires_at: Timestamp | None
    escalates_at: Timestamp | None
    escalated_at: Timestamp | None
    decided_at: Timestamp | None


class ApprovalResponse(ApprovalItem):
    """One approval with all that was said about it."""

    terms: dict[str, Any]
    form: dict[str, Any] = Field(description="JSON Schema of what approvers fill in.")
    proposed_input: str | None
    input: str | None = Field(description="As it holds now, edited or not.")
    edit: Edit | None
    evidence_sha256: str | None = Field(
        description="Digest of its whole record, an artifact of its task or execution; null until it is over."
    )
    decisions: list[Decision]
    delegations: list[Delegation]
    history: list[HistoryItem]
    api_version: Literal["v1"] = "v1"


class ApprovalListResponse(BaseModel):
    items: list[ApprovalItem]
    meta: PageMeta
    next_cursor: str | None
    api_version: Literal["v1"] = "v1"
