"""What the policy decided about a task or a step, as it crosses the wire."""

from pydantic import BaseModel, Field

from app.governance.policy.models import Effect
from app.http.timestamps import Timestamp


class RefusedCall(BaseModel):
    """A call of a tool that the policy denied."""

    tool: str
    rule: str | None
    at: Timestamp


class PolicyNote(BaseModel):
    """What the policy decided about the work, before an agent began with it."""

    effect: Effect
    rule: str | None = Field(description="Null where its default holds.")
    reasons: list[str]
    digest: str | None = Field(description="Of the policy that decided; see `GET /v1/policies/versions/{digest}`.")
    at: Timestamp
    approval_id: str | None
    refused_calls: list[RefusedCall] = Field([], description="The last calls of tools that were denied, at most 20.")
