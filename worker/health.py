"""The worker's own window: Prometheus text on a port of its own, when one is configured."""

from prometheus_client import start_http_server

from app.observability.metrics import Metrics
from app.settings import Settings


def serve_metrics(settings: Settings, metrics: Metrics) -> None:
    """Serve from a daemon thread for as long as the process lives; port 0 serves nothing."""
    if settings.prometheus_enabled and settings.worker_metrics_port:
        start_http_server(settings.worker_metrics_port, addr=settings.worker_metrics_host, registry=metrics.registry)
