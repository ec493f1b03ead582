"""What Prometheus scrapes. Labels come from closed sets, so that no client can make the process grow."""

from collections.abc import Mapping
from datetime import datetime, timedelta

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4

from app.observability.workflow_metrics import WorkflowMetrics

CONTENT_TYPE = CONTENT_TYPE_PLAIN_0_0_4

_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_REQUEST_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
_TASK_SECONDS = (0.01, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600)
_FIRST_TOKEN_SECONDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
_MAX_AGENT_TYPES = 64
_MAX_ANSWERING = 256


class Metrics:
    """The instruments of one process, in a registry of their own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._requests = Counter(
            "http_requests_total", "HTTP requests answered.", ["method", "endpoint", "status"], registry=self.registry
        )
        self._request_seconds = Histogram(
            "http_request_duration_seconds",
            "Time to answer; event streams are not timed.",
            ["method", "endpoint"],
            buckets=_REQUEST_SECONDS,
            registry=self.registry,
        )
        self._tasks = Counter(
            "tasks_finished_total",
            "Tasks that reached a final status.",
            ["agent_type", "status"],
            registry=self.registry,
        )
        self._task_seconds = Histogram(
            "task_duration_seconds",
            "Time from start to final status.",
            ["agent_type"],
            buckets=_TASK_SECONDS,
            registry=self.registry,
        )
        self._first_tokens = FirstTokens(self.registry)
        self.workflows = WorkflowMetrics(self.registry)
        self._bells = Counter("bells_total", "Wake-ups sent to the broker.", ["outcome"], registry=self.registry)
        self.queue_length = Gauge("queue_length", "Messages waiting in the broker.", registry=self.registry)
        self.jobs_waiting = Gauge("jobs_waiting", "Jobs that wait for a worker.", registry=self.registry)
        self.jobs_in_flight = Gauge("jobs_in_flight", "Jobs that a worker holds.", registry=self.registry)
        self.workers_alive = Gauge("workers_alive", "Worker processes with a live lease.", registry=self.registry)
        self.circuit_open = Gauge(
            "circuit_open",
            "1 while a provider is left alone because it is down.",
            ["provider", "model"],
            registry=self.registry,
        )
        self.losses = Losses(self.registry)
        self._agent_types: set[str] = set()

    def request_answered(self, method: str, endpoint: str, status: int, seconds: float | None) -> None:
        """``endpoint`` is a route's template, never a path; ``seconds`` is None for a stream."""
        known = method if method in _METHODS else "OTHER"
        self._requests.labels(known, endpoint, str(status)).inc()
        if seconds is not None:
            self._request_seconds.labels(known, endpoint).observe(seconds)

    def task_finished(self, agent_type: str | None, status: str, seconds: float | None) -> None:
        """``seconds`` is None for a task that never started."""
        label = self._agent_type(agent_type or "none")
        self._tasks.labels(label, status).inc()
        if seconds is not None:
            self._task_seconds.labels(label).observe(seconds)

    def first_token_seen(self, agent: str, model: str, after: timedelta) -> None:
        self._first_tokens.observe(agent, model, after)

    def bell_rung(self) -> None:
        self._bells.labels("rung").inc()

    def bell_failed(self) -> None:
        self._bells.labels("failed").inc()

    def expose(self) -> bytes:
        """The text Prometheus reads, of type `CONTENT_TYPE`."""
        return generate_latest(self.registry)

    def _agent_type(self, agent_type: str) -> str:
        if agent_type not in self._agent_types and len(self._agent_types) >= _MAX_AGENT_TYPES:
            return "other"
        self._agent_types.add(agent_type)
        return agent_type


class FirstTokens:
    """How long people look at nothing. Models are named by settings and plug-ins, so their number is bounded here."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._seconds = Histogram(
            "llm_first_token_seconds",
            "Time from a model call to the first piece of its text.",
            ["agent", "model"],
            buckets=_FIRST_TOKEN_SECONDS,
            registry=registry,
        )
        self._answering: set[tuple[str, str]] = set()

    def observe(self, agent: str, model: str, after: timedelta) -> None:
        labels = (agent, model)
        if labels not in self._answering and len(self._answering) >= _MAX_ANSWERING:
            labels = ("other", "other")
        self._answering.add(labels)
        self._seconds.labels(*labels).observe(after.total_seconds())


class Losses:
    """What had to be given up for the work to go on."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.audit = Counter(
            "audit_entries_lost_total", "Acts that could not be kept in the audit trail.", registry=registry
        )
        self.logs = Counter(
            "log_entries_dropped_total", "Log entries of this process that were not shipped.", registry=registry
        )


class InvariantGauges:
    """Only where invariants are verified, so that nobody takes the others for late."""

    def __init__(self, metrics: Metrics) -> None:
        self._violations = Gauge(
            "invariant_violations",
            "Jobs that broke an invariant when it was last verified, counted up to 100.",
            ["check"],
            registry=metrics.registry,
        )
        self._verified_at = Gauge(
            "invariant_check_timestamp_seconds",
            "When the invariants were last verified; 0 before the first time.",
            registry=metrics.registry,
        )

    def set(self, violations: Mapping[str, int], at: datetime) -> None:
        """``violations`` by the name of the check."""
        for check, count in violations.items():
            self._violations.labels(check).set(count)
        self._verified_at.set(at.timestamp())
