"""The HTTP routes of the system's own numbers."""

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Request
from pydantic import BaseModel, Field

from app.http.openapi import responses
from app.http.timestamps import Timestamp
from app.identity.authentication import CurrentPrincipal
from app.metrics.service import SystemMetrics

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
    workers: int = Field(description="Live worker processes.")
    worker_details: list[WorkerDetails]
    api_health: dict[str, str] = Field(examples=[{"mongo": "up", "redis": "up"}])
    last_5_days: list[DayMetrics] = Field(description="Today first, as many days as METRICS_HISTORY_DAYS says.")
    all_time: AllTimeMetrics
    api_version: Literal["v1"] = "v1"


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
