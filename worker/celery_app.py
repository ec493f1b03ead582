"""Celery around the worker process: start, the wake-up of its consumer, and shutdown."""

import asyncio
import warnings
from collections.abc import Sequence
from typing import Any

import structlog
from celery import Celery, signals
from celery.exceptions import CPendingDeprecationWarning
from kombu.asynchronous import get_event_loop

from app.jobs.broker import create_celery
from app.settings import Settings
from worker.consumer import LeanConsumer
from worker.event_loop import EventLoopThread
from worker.process import WorkerProcess
from worker.tasks import register_tasks

log = structlog.get_logger(__name__)

# They only hand an id over, so a few keep hundreds of jobs busy.
HAND_OVER_THREADS = 4
WAKE_DELAY = 0.005


def build_celery(settings: Settings, worker: WorkerProcess, events: EventLoopThread) -> Celery:
    """The Celery application of one worker process, its signals connected."""
    celery = create_celery(settings.app_name, settings.broker_url, sqs_queue_url_prefix=settings.sqs_queue_url_prefix)
    register_tasks(celery, worker)
    _connect_signals(worker, events)
    return celery


def run_celery(celery: Celery, *, name: str, queues: Sequence[str]) -> int:
    """Consume from these queues until told to stop, then drain; answers the exit code."""
    consumer = celery.Worker(
        hostname=name,
        pool_cls="threads",
        consumer_cls=LeanConsumer,
        concurrency=HAND_OVER_THREADS,
        queues=list(queues),
        loglevel="WARNING",
        quiet=True,
        # What these add (events, clock exchange) is not used and costs sockets and wake-ups.
        without_gossip=True,
        without_mingle=True,
        without_heartbeat=True,
    )
    # At every reconnect it announces a default of Celery 6; `app/jobs/broker.py` sets the option it is about. Only now:
    # the constructor sets up logging, and turns all announcements on.
    warnings.simplefilter("ignore", CPendingDeprecationWarning)
    consumer.start()
    return int(consumer.exitcode or 0)


def _connect_signals(worker: WorkerProcess, events: EventLoopThread) -> None:
    def ready(**_: Any) -> None:
        log.info("worker.ready")

    def told_to_stop(**_: Any) -> None:
        worker.stop_claiming()

    def wake_consumer(**_: Any) -> None:
        # With prefetch off, Celery looks for a freed slot only at its next timer, up to a second later.
        hub = get_event_loop()
        if hub is not None:
            events.loop.call_soon_threadsafe(_later, events.loop, hub)

    signals.worker_ready.connect(ready, weak=False)
    signals.worker_shutting_down.connect(told_to_stop, weak=False)
    signals.task_postrun.connect(wake_consumer, weak=False)


def _later(loop: asyncio.AbstractEventLoop, hub: Any) -> None:
    loop.call_later(WAKE_DELAY, hub.call_soon, _nothing)


def _nothing() -> None:
    """Turning the hub is the point."""
