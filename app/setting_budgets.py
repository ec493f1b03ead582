"""Limits of what may be consumed, as settings and requests write them."""

from collections.abc import Mapping
from typing import Annotated, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator
from pydantic_settings import BaseSettings, NoDecode

from app.setting_types import JsonObject

Usd = Annotated[float, Field(ge=0, le=1_000_000, allow_inf_nan=False)]
Count = Annotated[int, Field(ge=0, le=10**15)]
Seconds = Annotated[float, Field(ge=0, le=10**9, allow_inf_nan=False)]


class BudgetLimits(BaseModel):
    """At least one of them; nothing may be consumed where it is 0."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    usd: Usd | None = Field(None, description="US dollars by list price.")
    tokens: Count | None = Field(None, description="Prompt and completion tokens together.")
    model_calls: Count | None = Field(None, description="Calls to models.")
    wall_seconds: Seconds | None = Field(None, description="Seconds that workers spend on tasks.")

    @model_validator(mode="after")
    def _limits_something(self) -> Self:
        if all(limit is None for limit in (self.usd, self.tokens, self.model_calls, self.wall_seconds)):
            raise ValueError("give at least one of usd, tokens, model_calls and wall_seconds")
        return self


class PeriodBudget(BaseModel):
    """Days and months are those of UTC."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    day: BudgetLimits | None = Field(None, description="What a day may consume.")
    month: BudgetLimits | None = Field(None, description="What a calendar month may consume.")

    @model_validator(mode="after")
    def _limits_a_period(self) -> Self:
        if self.day is None and self.month is None:
            raise ValueError("give the limits of a day, of a month, or both")
        return self


def _none_if_empty(value: object) -> object:
    return None if value == {} else value


PeriodBudgets = Annotated[Mapping[str, PeriodBudget], NoDecode, JsonObject, Field(max_length=10_000)]
SessionLimits = Annotated[BudgetLimits | None, NoDecode, BeforeValidator(_none_if_empty), JsonObject]


class BudgetSettings(BaseSettings):
    # --- budgets
    tenant_budgets: PeriodBudgets = Field(
        {},
        description="What tenants may consume, as JSON by tenant, `*` for others: "
        '`{"acme": {"day": {"usd": 10}, "month": {"usd": 200, "tokens": 50000000}}}`. Units: usd, tokens, model_calls, '
        "wall_seconds.",
    )
    agent_budgets: PeriodBudgets = Field(
        {}, description="What each tenant may consume with an agent, as JSON by agent, in the same form."
    )
    session_budget: SessionLimits = Field(
        None, description='What each session may consume in all, as JSON: `{"usd": 1, "tokens": 200000}`.'
    )
