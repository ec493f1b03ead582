"""What Prometheus scrapes of executions and steps, by each worker process."""

from prometheus_client import CollectorRegistry, Counter, Histogram

_EXECUTION_SECONDS = (0.05, 0.25, 1, 5, 15, 60, 300, 900, 3600, 4 * 3600, 24 * 3600, 7 * 24 * 3600)
_STEP_SECONDS = (0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1, 5, 10, 30, 60, 300, 900, 3600)


class WorkflowMetrics:
    """Kinds of steps and statuses are closed sets of ours, so labels need no bound."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._started = Counter(
            "executions_started_total", "Executions that a worker began with, again after a retry.", registry=registry
        )
        self._ended = Counter(
            "executions_finished_total", "Executions that reached a final status.", ["status"], registry=registry
        )
        self._execution_seconds = Histogram(
            "execution_duration_seconds",
            "Time from acceptance, or retry, to the final status, all waiting included.",
            ["status"],
            buckets=_EXECUTION_SECONDS,
            registry=registry,
        )
        self._steps = Counter(
            "steps_finished_total",
            "Steps that a worker carried out to a final status.",
            ["kind", "status"],
            registry=registry,
        )
        self._step_seconds = Histogram(
            "step_duration_seconds",
            "Time from the start of a step's last attempt to its final status.",
            ["kind"],
            buckets=_STEP_SECONDS,
            registry=registry,
        )

    def execution_started(self) -> None:
        self._started.inc()

    def execution_finished(self, status: str, seconds: float) -> None:
        self._ended.labels(status).inc()
        self._execution_seconds.labels(status).observe(max(seconds, 0.0))

    def step_finished(self, kind: str, status: str, seconds: float) -> None:
        self._steps.labels(kind, status).inc()
        self._step_seconds.labels(kind).observe(max(seconds, 0.0))
