"""On which terms something is approved: who may decide, how many have to, until when, and what then."""

from datetime import timedelta
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator

from app.contracts import Contracts
from app.durations import Duration

MOST_APPROVERS = 100
LONGEST_MESSAGE = 10_000
Approver = Annotated[str, StringConstraints(min_length=1, max_length=200)]
OnExpiry = Literal["approve", "reject", "fail"]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class Escalation(_Strict):
    """Further approvers, when nobody has decided for a while."""

    after: Duration = Field(description="How long the first approvers are alone.")
    to: list[Approver] = Field(
        min_length=1, max_length=MOST_APPROVERS, description="Ids of keys, roles or groups that may decide then, too."
    )


class ApprovalTerms(_Strict):
    """Who may decide, how many have to, until when, and what then."""

    approvers: list[Approver] = Field(
        default_factory=list,
        max_length=MOST_APPROVERS,
        description="Ids of keys, roles, or groups of APPROVER_GROUPS; empty: any key that may write.",
    )
    quorum: int = Field(1, ge=1, le=100, description="How many have to approve; one rejection is enough.")
    self_approval: bool = Field(False, description="Whether the key that asked for it may decide.")
    delegation: bool = Field(True, description="Whether an approver may give the vote away.")
    expires_in: Duration | None = Field(None, description="How long it may be decided; else for ever.")
    on_expiry: OnExpiry = Field("reject", description="What becomes of it when nobody has decided in time.")
    escalation: Escalation | None = None
    form: Contracts = Field(default_factory=dict, description="Fields that approvers fill in.")
    message: str = Field("", max_length=LONGEST_MESSAGE, description="What approvers are told.")

    @model_validator(mode="after")
    def _escalates_in_time(self) -> Self:
        if self.escalation and self.expires_in and self.escalation.after >= self.expires_in:
            raise ValueError("escalation.after must be shorter than expires_in")
        return self

    @property
    def escalates_after(self) -> timedelta | None:
        return self.escalation.after if self.escalation else None
