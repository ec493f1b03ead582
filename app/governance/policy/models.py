"""A policy document as it is written, field by field; what its conditions mean is checked in `conditions`."""

from enum import StrEnum
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator

from app.errors import Conflict, ExecutionError, NotFound
from app.expressions.lexis import LONGEST_EXPRESSION
from app.governance.approvals.terms import ApprovalTerms

MOST_RULES = 500
LONGEST_REASON = 500


class PolicyDenied(ExecutionError):
    """What was wanted is forbidden by a rule; the message names it."""

    code = "POLICY_DENIED"
    status = 403
    title = "Denied by policy"


class PolicyNotFound(NotFound):
    code = "POLICY_NOT_FOUND"
    title = "Policy not found"


class PolicyChanged(Conflict):
    """If-Match names another version than the current one."""

    code = "POLICY_CHANGED"
    status = 412
    title = "Policy changed"


class FactKind(StrEnum):
    """What is decided about: a task before its agent begins, a step before its work, one call of a tool."""

    TASK = "task"
    STEP = "step"
    TOOL = "tool"


class Effect(StrEnum):
    """What a policy decides."""

    ALLOW = "allow"
    REQUIRE_APPROVAL = "require_approval"
    DENY = "deny"


class Mode(StrEnum):
    """Which of several rules decides: the first that applies, or the strictest."""

    FIRST_MATCH = "first-match"
    DENY_OVERRIDES = "deny-overrides"


RuleName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z][A-Za-z0-9_.-]{0,99}$")]
# The document names these by their values, which a strict model would not take for members.
Kind = Annotated[FactKind, Field(strict=False)]
Decides = Annotated[Effect, Field(strict=False)]


class Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


Share = Annotated[float, Field(gt=0, le=1, allow_inf_nan=False)]


class AutoApproval(Strict):
    """Within these thresholds what would need an approval is allowed without one; all that are given have to hold."""

    risk_below: Share | None = None
    cost_below: Share | None = None
    feasibility_above: float | None = Field(None, ge=0, lt=1, allow_inf_nan=False)
    alignment_above: float | None = Field(None, ge=0, lt=1, allow_inf_nan=False)
    spend_usd_below: float | None = Field(None, gt=0, allow_inf_nan=False, description="Of earlier attempts.")

    @model_validator(mode="after")
    def _limits_something(self) -> Self:
        if not any(limit is not None for limit in self.model_dump().values()):
            raise ValueError(f"give at least one of {', '.join(type(self).model_fields)}")
        return self

    @property
    def is_scored(self) -> bool:
        limits = self.model_dump(exclude={"spend_usd_below"})
        return any(limit is not None for limit in limits.values())


class Rule(Strict):
    """Decides about what its condition holds for."""

    name: RuleName
    applies_to: list[Kind] = Field(min_length=1, max_length=3)
    when: str | None = Field(
        None, min_length=1, max_length=LONGEST_EXPRESSION, description="CEL that gives true or false; else always."
    )
    decide: Decides
    reason: str = Field("", max_length=LONGEST_REASON, description="What people are told; never holds values.")
    approval: ApprovalTerms | None = Field(None, description="Else those of the policy.")
    auto_approve: bool = Field(True, description="Whether `auto_approve` of the policy holds for this rule.")

    @model_validator(mode="after")
    def _has_use_for_its_terms(self) -> Self:
        if self.approval is not None and self.decide is not Effect.REQUIRE_APPROVAL:
            raise ValueError(f"a rule that decides {self.decide} has no use for `approval`; remove it")
        return self


class PolicyDocument(Strict):
    """A whole policy."""

    version: Literal[1]
    name: RuleName = "policy"
    description: str = Field("", max_length=10_000)
    default: Decides = Field(Effect.ALLOW, description="What holds where no rule applies.")
    mode: Annotated[Mode, Field(strict=False)] = Mode.FIRST_MATCH
    auto_approve: AutoApproval | None = None
    approval: ApprovalTerms = Field(
        default_factory=ApprovalTerms, description="On which terms approvals are asked for."
    )
    rules: list[Rule] = Field(default_factory=list, max_length=MOST_RULES)
