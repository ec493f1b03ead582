"""The HTTP routes of the system's own numbers."""

from datetime import date
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Query, Request
from pydantic import BaseModel, Field

from app.http.openapi import responses
from app.http.timestamps import Timestamp
from app.identity.authentication import CurrentPrincipal
from app.metrics.service import SystemMetrics
from app.metrics.usage import MODEL_CALLS, NANO, NANO_USD, TOKENS, Amounts, GroupBy, UsageReport

router = APIRouter(prefix="/v1", tags=["System"])


class DayMetrics(BaseModel):
    """One day's numbers; latencies run from acceptance to the final status."""

    date: str = Field(examples=["2026-11-21"])
    total_tasks: int
    tasks_per_agent: dict[str, int] = Field(examples=[{"ContentAgent": 12, "CodeAgent": 7}])
    avg_latency_ms: float
    p95_latency_ms: float = Field(description="Right within 1 %.")


class AllTimeMetrics(BaseModel):
    total_tasks: int
    tasks_per_agent: dict[str, int]
    avg_latency_ms: float
    p95_latency_ms: float
    first_task_at: Timestamp | None
    last_task_at: Timestamp | None


class WorkerDetails(BaseModel):
    worker_id: str
    host: str
    pid: int
    slots: int
    in_flight: int
    version: str
    started_at: Timestamp


class SystemMetricsResponse(DayMetrics):
    """Today's numbers, what is open now, and the past. Tasks that are still open count for today."""

    pending_tasks: int
    queue_length: int | None = Field(description="Messages in the broker; null when it cannot say.")
    tasks_per_status: dict[str, int] = Field(description="Ended today, and open now.")
    executions_per_status: dict[str, int] = Field(
        description="Executions of workflows that are open now.", examples=[{"processing": 3, "awaiting_approval": 1}]
    )
    workers: int = Field(description="Live worker processes.")
    worker_details: list[WorkerDetails]
    api_health: dict[str, str] = Field(examples=[{"mongo": "up", "redis": "up"}])
    last_5_days: list[DayMetrics] = Field(description="Today first, as many days as METRICS_HISTORY_DAYS says.")
    all_time: AllTimeMetrics
    api_version: Literal["v1"] = "v1"


class Consumption(BaseModel):
    tokens: int
    model_calls: int
    usd: float = Field(description="US dollars by list price.")


class UsageGroup(Consumption):
    key: str = Field(description="A tenant, an agent or a day.", examples=["CodeAgent"])


class UsageResponse(BaseModel):
    """What your tasks and steps consumed, on the days their attempts ended. A task is counted when it ends."""

    first: date = Field(alias="from")
    last: date = Field(alias="to")
    group_by: GroupBy
    total: Consumption
    items: list[UsageGroup] = Field(
        description="An agent's item has the tasks and steps that it did, their routing included. Days without any are "
        "left out."
    )
    api_version: Literal["v1"] = "v1"


async def _usage(request: Request) -> UsageReport:
    report: UsageReport = request.app.state.usage
    return report


async def _metrics(request: Request) -> SystemMetrics:
    metrics: SystemMetrics = request.app.state.system_metrics
    return metrics


@router.get("/system/metrics", responses=responses(503))
async def get_system_metrics(
    metrics: Annotated[SystemMetrics, Depends(_metrics)], principal: CurrentPrincipal
) -> SystemMetricsResponse:
    """Numbers of your tenant and the state of the system. The cost does not grow with the number of tasks."""
    numbers: dict[str, Any] = await metrics.read(principal.tenant_id)
    return SystemMetricsResponse(**numbers)


@router.get("/usage", responses=responses(422, 503))
async def get_usage(
    report: Annotated[UsageReport, Depends(_usage)],
    principal: CurrentPrincipal,
    first: Annotated[date | None, Query(alias="from", description="First day (UTC). Default: of the month.")] = None,
    last: Annotated[date | None, Query(alias="to", description="Last day, included. Default: today.")] = None,
    group_by: Annotated[GroupBy, Query(description="What an item of the answer stands for.")] = GroupBy.TENANT,
) -> UsageResponse:
    """Tokens, calls and dollars of your tasks and executions.

    A session's are in `GET /v1/sessions/{id}`, a task's in the task, and an execution's in the execution.
    """
    usage = await report.read(principal.tenant_id, first, last, group_by)
    items = [UsageGroup(key=key, **_consumption(amounts)) for key, amounts in usage.groups.items()]
    total = Consumption(**_consumption(usage.total))
    return UsageResponse(**{"from": usage.first, "to": usage.last}, group_by=group_by, total=total, items=items)


def _consumption(amounts: Amounts) -> dict[str, Any]:
    return {
        "tokens": amounts[TOKENS],
        "model_calls": amounts[MODEL_CALLS],
        "usd": amounts[NANO_USD] / NANO,
    }
