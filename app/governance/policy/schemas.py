"""What crosses the wire for policies. Field names are a contract: add, never rename or remove."""

from datetime import datetime
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from app.governance.policy.loading import LIMITS
from app.governance.policy.models import Effect, FactKind
from app.governance.policy.service import Tried
from app.http.pagination import PageMeta
from app.http.timestamps import Timestamp

EXAMPLE_DIGEST = "sha256:9b1f0f9e2b7a4d58863e1a7c9d0b4e62f5a81d3c7e9b2046a1c8d5f7e3b09a4d"
MOST_EXAMINED = 500


class PolicyResponse(BaseModel):
    """The policy that holds for the tenant."""

    digest: str = Field(examples=[EXAMPLE_DIGEST])
    source: Literal["stored", "configured"] = Field(description="`configured`: by POLICY_FILE of the deployment.")
    text: str | None = Field(description="As it was sent; null for what the deployment configures.")
    updated_at: Timestamp | None
    updated_by: str | None = Field(description="Id of the key that stored it.")
    api_version: Literal["v1"] = "v1"


class PolicyVersion(BaseModel):
    digest: str = Field(examples=[EXAMPLE_DIGEST])
    created_at: Timestamp = Field(description="When it was stored first.")
    created_by: str
    current: bool


class PolicyVersionsResponse(BaseModel):
    items: list[PolicyVersion]
    meta: PageMeta
    next_cursor: str | None
    api_version: Literal["v1"] = "v1"


class PolicyTextResponse(BaseModel):
    digest: str = Field(examples=[EXAMPLE_DIGEST])
    text: str
    api_version: Literal["v1"] = "v1"


class PolicyProblem(BaseModel):
    line: int = Field(description="From 1.")
    column: int = Field(description="From 1.")
    path: str = Field(examples=["rules[0].when"])
    message: str
    fix: str | None


class PolicyValidationResponse(BaseModel):
    """A policy that is not valid is an answer too, no error."""

    valid: bool
    digest: str | None = Field(description="Null when it is not valid.", examples=[EXAMPLE_DIGEST])
    problems: list[PolicyProblem] = Field(description="By place, at most 100.")
    api_version: Literal["v1"] = "v1"


class DecideRequest(BaseModel):
    """Facts as they would be known; what is left out is not known."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={"examples": [{"kind": "tool", "facts": {"tool": {"name": "mcp.files.write"}}}]},
    )

    kind: FactKind
    facts: dict[str, Any] = Field(default_factory=dict, max_length=20)


class PolicyDecision(BaseModel):
    effect: Effect
    rule: str | None = Field(description="Null where the default of the policy holds, or where there is no policy.")
    reasons: list[str]


class DecideResponse(PolicyDecision):
    policy_digest: str | None = Field(examples=[EXAMPLE_DIGEST])
    approval: dict[str, Any] | None = Field(description="On which terms an approval would be asked for.")
    api_version: Literal["v1"] = "v1"


class DryRunRequest(BaseModel):
    """A policy, and which past work to try it on: the newest between two moments."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={"examples": [{"policy": "version: 1\ndefault: deny\n", "limit": 100}]},
    )

    policy: str = Field(max_length=LIMITS.size, description="Its text, as YAML or JSON.")
    of: Tried = Field(Tried.TASKS, description="Tasks, or steps of executions.")
    since: datetime | None = Field(None, description="Tasks that were submitted, executions started, then or later.")
    until: datetime | None = Field(None, description="Tasks that were submitted, executions started, before.")
    limit: int = Field(100, ge=1, le=MOST_EXAMINED, description="How many tasks or steps, newest first.")


class DryRunChange(BaseModel):
    task_id: str | None = Field(description="Null for a step.")
    execution_id: str | None = Field(description="Whose step it is; null for a task.")
    path: str | None = Field(description="Of the step, as in `review[2].fix`; null for a task.")
    created_at: Timestamp
    before: PolicyDecision
    after: PolicyDecision


class DryRunResponse(BaseModel):
    """Tool calls are not tried: what they were about is not kept.

    Steps are examined by whole executions, but for one that has more than `limit` by itself.
    """

    digest: str = Field(description="Of the policy that was tried.", examples=[EXAMPLE_DIGEST])
    examined: int
    oldest: Timestamp | None = Field(description="When the oldest of them began; go on from here as `until`.")
    before: dict[Effect, int] = Field(description="How many each effect has by what holds now.")
    after: dict[Effect, int] = Field(description="How many it would have had.")
    changes: list[DryRunChange] = Field(description="What would have been decided otherwise.")
    api_version: Literal["v1"] = "v1"
