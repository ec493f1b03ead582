"""`python -m worker`: one worker process, configured by the environment."""

import gc
import os

# Until everything is imported: walking half-loaded libraries again and again costs a fifth of the start.
gc.disable()
# Before LangGraph is imported, which looks at it once. What the environment says already is checked in `main`.
os.environ["LANGGRAPH_STRICT_MSGPACK"] = os.environ.get("LANGGRAPH_STRICT_MSGPACK") or "true"

import socket
import sys
import threading
import warnings
from datetime import timedelta

from celery.exceptions import SecurityWarning

from app.agents.registry import Registry
from app.bootstrap.execution import build_execution
from app.checkpoints.strictness import require_strict_msgpack
from app.governance.policy.configured import configured_policy
from app.ids import new_token
from app.jobs.queues import open_queues, warn_of_problems
from app.jobs.workers import WorkerIdentity
from app.logs.shipping import LogQueue
from app.observability.logging import configure_logging
from app.settings import ConfigurationError, Settings, load_settings
from app.version import VERSION
from app.workflows.steps.commands import Guard
from worker.celery_app import build_celery, run_celery
from worker.event_loop import EventLoopThread
from worker.health import serve_metrics
from worker.process import WorkerProcess
from worker.programs import guarded_programs

EXIT_MISCONFIGURED = 2
# Ten times the default for the young generation: more saves little and costs memory.
COLLECTOR_THRESHOLDS = (10_000, 20, 50)


def main(*, registry: Registry | None = None) -> int:
    """Run until told to stop; answers the exit code. ``registry`` holds the agents, if not those of the product."""
    try:
        settings = load_settings()
        require_strict_msgpack(os.environ)
        configured_policy(settings)
    except ConfigurationError as error:
        sys.stderr.write(f"{error}\n")
        return EXIT_MISCONFIGURED
    log_queue = LogQueue()
    configure_logging(settings, service="worker", tap=log_queue.put if settings.log_shipping else None)
    # Celery warns root about pickle; only JSON is accepted here, and in a container root may be all there is.
    warnings.simplefilter("ignore", SecurityWarning)
    with guarded_programs(are_allowed=settings.worker_allow_commands) as guard:
        return _work(settings, registry, guard, log_queue)


def _work(settings: Settings, registry: Registry | None, guard: Guard, log_queue: LogQueue) -> int:
    events = EventLoopThread()
    building = build_execution(settings, registry=registry, guard_of_programs=guard, log_queue=log_queue)
    execution = events.run(building, patience=None)
    serve_metrics(settings, execution.core.metrics)
    worker = WorkerProcess(
        execution,
        events,
        identify=lambda: identify(settings),
        grace=timedelta(seconds=settings.drain_grace_sec),
    )
    _spare_the_collector()
    worker.start()
    try:
        celery = build_celery(settings, worker, events)
        # A thread that nobody waits for: a service that does not answer must not hold up the end of the process.
        queues = open_queues(settings.broker_url, sqs_queue_url_prefix=settings.sqs_queue_url_prefix)
        threading.Thread(target=warn_of_problems, args=(queues,), name="queues", daemon=True).start()
        return run_celery(celery, name=f"{os.getpid()}@{socket.gethostname()}", queues=settings.worker_queues)
    finally:
        # However Celery ended, what runs here is finished or handed back.
        worker.drain()
        events.stop()


def _spare_the_collector() -> None:
    """Keep the garbage collector from walking the imported libraries again and again.

    With hundreds of model calls in flight it was measured to cost a quarter of the worker's CPU.
    """
    gc.collect()
    gc.freeze()
    gc.enable()
    gc.set_threshold(*COLLECTOR_THRESHOLDS)


def identify(settings: Settings) -> WorkerIdentity:
    """A new identity: an expired worker that comes back must not be taken for the one it was."""
    host, pid = socket.gethostname(), os.getpid()
    return WorkerIdentity(
        id=f"{host}-{pid}-{new_token()[:8]}",
        host=host,
        pid=pid,
        queues=settings.worker_queues,
        slots=settings.worker_slots,
        version=VERSION,
    )


if __name__ == "__main__":
    sys.exit(main())
