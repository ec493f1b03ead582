"""The numbers of `GET /v1/system/metrics`: a handful of roll-up documents and what is open now, whatever ever ran."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime, timedelta
from typing import Any

from app.clock import Clock
from app.database.documents import Document, Documents
from app.jobs.models import OPEN
from app.jobs.workers import WorkerDirectory
from app.metrics.sketch import quantile
from app.metrics.tally import ALL_TIME

# Open jobs are counted one by one; past this number the answer is "at least".
MOST_OPEN_COUNTED = 100_000
Probe = Callable[[], Awaitable[Mapping[str, bool]]]
# Of a tenant, by status, each counted up to a limit.
CountOpen = Callable[[str, int], Awaitable[Mapping[str, int]]]


class SystemMetrics:
    """Reads the roll-ups of one tenant and the state of the system."""

    def __init__(
        self,
        jobs: Documents,
        rollups: Documents,
        workers: WorkerDirectory,
        *,
        count_executions: CountOpen,
        history_days: int,
        clock: Clock,
        measure_depth: Callable[[], Awaitable[int | None]],
        probe: Probe,
    ) -> None:
        self._jobs = jobs
        self._rollups = rollups
        self._workers = workers
        self._count_executions = count_executions
        self._history_days = history_days
        self._clock = clock
        self._measure_depth = measure_depth
        self._probe = probe

    async def read(self, tenant_id: str) -> dict[str, Any]:
        now = self._clock()
        rollups, open_jobs, executions, workers, depth, health = await asyncio.gather(
            self._read_rollups(tenant_id, now),
            self._count_open(tenant_id),
            self._count_executions(tenant_id, MOST_OPEN_COUNTED),
            self._workers.list_live(),
            self._measure_depth(),
            self._probe(),
        )
        today = rollups.get(_day(now), {})
        pending = sum(open_jobs.values())
        return {
            "date": _day(now),
            **_numbers(today, still_open=pending),
            "pending_tasks": pending,
            "queue_length": depth,
            "tasks_per_status": {**_positive(today.get("statuses", {})), **open_jobs},
            "executions_per_status": dict(executions),
            "workers": len(workers),
            "worker_details": [_worker(one) for one in workers],
            "api_health": {name: "up" if up else "down" for name, up in health.items()},
            "last_5_days": self._past_days(rollups, now, pending),
            "all_time": _all_time(rollups.get(ALL_TIME, {}), pending),
        }

    async def _read_rollups(self, tenant_id: str, now: datetime) -> dict[str, Document]:
        periods = [*self._days(now), ALL_TIME]
        found = await self._rollups.of_tenant(tenant_id).find_many(
            {"_id": {"$in": [f"{tenant_id}:{period}" for period in periods]}}, limit=len(periods)
        )
        return {document["period"]: document for document in found}

    def _days(self, now: datetime) -> list[str]:
        return [_day(now - timedelta(days=back)) for back in range(self._history_days)]

    async def _count_open(self, tenant_id: str) -> dict[str, int]:
        jobs, names = self._jobs.of_tenant(tenant_id), sorted(OPEN)
        counts = await asyncio.gather(*(jobs.count({"status": name.value}, limit=MOST_OPEN_COUNTED) for name in names))
        return {name.value: count for name, count in zip(names, counts, strict=True)}

    def _past_days(self, rollups: Mapping[str, Document], now: datetime, pending: int) -> list[dict[str, Any]]:
        today = _day(now)
        return [
            {"date": day, **_numbers(rollups.get(day, {}), still_open=pending if day == today else 0)}
            for day in self._days(now)
        ]


def _day(moment: datetime) -> str:
    return moment.date().isoformat()


def _numbers(rollup: Mapping[str, Any], *, still_open: int) -> dict[str, Any]:
    latency = rollup.get("latency", {})
    count = latency.get("count", 0)
    return {
        "total_tasks": int(rollup.get("total", 0)) + still_open,
        "tasks_per_agent": _positive(rollup.get("agents", {})),
        "avg_latency_ms": _rounded(latency["sum"] / count if count > 0 else None),
        "p95_latency_ms": _rounded(quantile(_positive(latency.get("buckets", {})), 0.95)),
    }


def _all_time(rollup: Mapping[str, Any], pending: int) -> dict[str, Any]:
    return {
        **_numbers(rollup, still_open=pending),
        "first_task_at": rollup.get("first_at"),
        "last_task_at": rollup.get("last_at"),
    }


def _positive(counters: Mapping[str, float]) -> dict[str, int]:
    return {name: int(count) for name, count in counters.items() if count > 0}


def _rounded(value: float | None) -> float:
    # Dashboards that speak this contract format the number: nothing measured is 0, not null.
    return 0.0 if value is None else round(value, 1)


def _worker(document: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "worker_id": document["_id"],
        **{name: document[name] for name in ("host", "pid", "slots", "in_flight", "version", "started_at")},
    }
