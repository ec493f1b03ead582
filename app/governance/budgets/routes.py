"""The HTTP routes of a tenant's budgets."""

from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Path, Request
from pydantic import BaseModel, ConfigDict, Field

from app.errors import Invalid
from app.governance.audit.recording import Record
from app.governance.budgets.accounts import period_end
from app.governance.budgets.ledger import Consumption
from app.governance.budgets.models import Limit, Period, Scope, Unit, shown
from app.governance.budgets.service import BudgetService, BudgetState
from app.http.openapi import responses, writing
from app.http.timestamps import Timestamp
from app.identity.authentication import CurrentAdministrator, CurrentPrincipal
from app.setting_budgets import BudgetLimits, PeriodBudget

router = APIRouter(prefix="/v1/budgets", tags=["Budgets"])


class SharedScope(StrEnum):
    """Whose consumption is counted together."""

    TENANT = "tenant"
    AGENT = "agent"
    SESSION = "session"


ScopePath = Annotated[SharedScope, Path(description="Whose consumption is counted together.")]
OwnerPath = Annotated[
    str,
    Path(
        max_length=128,
        description="Your tenant's name; an agent's; a session's id. `*` stands for every agent without a budget of "
        "its own, and for every session.",
    ),
]


class BudgetRequest(BaseModel):
    """New limits, in place of those that are stored: of a day and a month, or of a session in `total`."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={"examples": [{"day": {"usd": 10}, "month": {"usd": 200, "tokens": 50_000_000}}]},
    )

    day: BudgetLimits | None = Field(None, description="What a day (UTC) may consume.")
    month: BudgetLimits | None = Field(None, description="What a calendar month (UTC) may consume.")
    total: BudgetLimits | None = Field(None, description="What each session may consume in all.")

    def limits_for(self, scope: SharedScope) -> dict[str, Any]:
        """What is stored; raises `Invalid` for periods that the scope does not have."""
        is_session = scope is SharedScope.SESSION
        if is_session and (self.total is None or self.day or self.month):
            raise Invalid("a session has no days and months: give `total`", field="total")
        if not is_session and (self.total is not None or not (self.day or self.month)):
            raise Invalid("give `day`, `month` or both", field="day")
        kept = self.total if is_session else PeriodBudget(day=self.day, month=self.month)
        return {} if kept is None else kept.model_dump(exclude_none=True)


class BudgetLimit(BaseModel):
    """One limit that holds: the lower of what the deployment configures and what is stored."""

    period: Period
    unit: Unit
    limit: float
    spent: float | None = Field(description="Null where the budget is one for each of many.")
    reserved: float | None = Field(description="For calls in progress, by estimate.")
    remaining: float | None
    resets_at: Timestamp | None = Field(description="When counting begins anew; null for what never does.")
    to_raise: str = Field(examples=["raise TENANT_BUDGETS, or wait until 2026-11-22T00:00:00.000Z"])


class StoredBudget(BaseModel):
    limits: dict[str, Any] = Field(examples=[{"day": {"usd": 10.0}}])
    updated_at: Timestamp
    updated_by: str = Field(description="Id of the key that set it.")


class Budget(BaseModel):
    scope: Scope
    name: str
    limits: list[BudgetLimit]
    stored: StoredBudget | None


class BudgetResponse(Budget):
    api_version: Literal["v1"] = "v1"


class BudgetListResponse(BaseModel):
    items: list[Budget]
    api_version: Literal["v1"] = "v1"


async def _service(request: Request) -> BudgetService:
    service: BudgetService = request.app.state.budgets
    return service


Service = Annotated[BudgetService, Depends(_service)]


@router.get("", responses=responses(503))
async def list_budgets(service: Service, principal: CurrentPrincipal) -> BudgetListResponse:
    """The limits on what your tenant, each agent and each session may consume, with what was consumed."""
    states = await service.list_all(principal.tenant_id)
    return BudgetListResponse(items=[Budget(**_fields(state)) for state in states])


@router.get("/{scope}/{owner}", responses=responses(404, 422, 503))
async def get_budget(
    scope: ScopePath, owner: OwnerPath, service: Service, principal: CurrentPrincipal
) -> BudgetResponse:
    """One budget, with what was consumed."""
    state = await service.get(principal.tenant_id, Scope(scope), owner)
    return BudgetResponse(**_fields(state))


@router.put("/{scope}/{owner}", responses=writing(404))
async def put_budget(
    scope: ScopePath,
    owner: OwnerPath,
    body: BudgetRequest,
    service: Service,
    principal: CurrentAdministrator,
    record: Record,
) -> BudgetResponse:
    """Set a budget. It holds besides what the deployment configures, and so can only lower that."""
    limits = body.limits_for(scope)
    async with record.around("budget.put", {"scope": scope.value, "name": owner}, {"limits": limits}):
        state = await service.put(principal.tenant_id, Scope(scope), owner, limits, by=principal.key_id)
    return BudgetResponse(**_fields(state))


@router.delete("/{scope}/{owner}", status_code=204, responses=writing(404))
async def delete_budget(
    scope: ScopePath, owner: OwnerPath, service: Service, principal: CurrentAdministrator, record: Record
) -> None:
    """Delete a stored budget; what the deployment configures still holds."""
    async with record.around("budget.deleted", {"scope": scope.value, "name": owner}):
        await service.delete(principal.tenant_id, Scope(scope), owner)


def _fields(state: BudgetState) -> dict[str, Any]:
    stored = state.stored
    return {
        "scope": state.scope,
        "name": state.name,
        "limits": [_limit(limit, consumption, state.at) for limit, consumption in state.limits],
        "stored": stored and StoredBudget(**{name: stored[name] for name in StoredBudget.model_fields}),
    }


def _limit(limit: Limit, consumption: Consumption | None, now: datetime) -> BudgetLimit:
    return BudgetLimit(
        period=limit.period,
        unit=limit.unit,
        limit=shown(limit.unit, limit.most),
        resets_at=period_end(limit.period, now),
        to_raise=limit.fix,
        **_consumed(limit, consumption),
    )


def _consumed(limit: Limit, consumption: Consumption | None) -> dict[str, float | None]:
    if consumption is None:
        return dict.fromkeys(("spent", "reserved", "remaining"))
    committed, reserved = consumption.committed.get(limit.unit, 0), consumption.reserved.get(limit.unit, 0)
    return {
        "spent": shown(limit.unit, committed - reserved),
        "reserved": shown(limit.unit, reserved),
        "remaining": shown(limit.unit, max(limit.most - committed, 0)),
    }
